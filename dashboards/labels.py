"""Which names of a drawn network have room: those that cover no other name and no vertex.

Names grow and shrink with the picture, so what has room at one zoom has it at each. The sizes are
those of `dashboards.palette.cytoscape_stylesheet`, in pixels at zoom 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dashboards.palette import CENTRE_NAME, NAME, NAME_GAP

_LETTER = 0.58
"""Width of a letter, of the height of the font."""
_LINE = 1.6
"""Height of a line with its background, of the height of the font."""


class Drawn(NamedTuple):
    """A vertex as it stands in the picture."""

    vertex: str
    label: str
    x: float
    y: float
    size: float
    is_centre: bool


def crowded(drawn: Sequence[Drawn]) -> set[str]:
    """Return the vertices whose names have no room: who comes first gets it, a centre always."""
    taken = np.array([_box_of_vertex(each) for each in drawn]).reshape(-1, 4)
    found = set()
    for each in drawn:
        box = _box_of_name(each)
        if not each.is_centre and _covers(box, taken):
            found.add(each.vertex)
        else:
            taken = np.vstack([taken, box])
    return found


def _box_of_vertex(each: Drawn) -> list[float]:
    """Left, top, right, bottom."""
    half = each.size / 2
    return [each.x - half, each.y - half, each.x + half, each.y + half]


def _box_of_name(each: Drawn) -> NDArray[np.float64]:
    style = CENTRE_NAME if each.is_centre else NAME
    half = min(style.max_width, _LETTER * style.font_size * len(each.label)) / 2
    top = each.y + each.size / 2 + NAME_GAP
    return np.array([each.x - half, top, each.x + half, top + _LINE * style.font_size])


def _covers(box: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    left, top, right, bottom = others.T
    apart = (left > box[2]) | (right < box[0]) | (top > box[3]) | (bottom < box[1])
    return not apart.all()
