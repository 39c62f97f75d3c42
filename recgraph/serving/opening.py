"""The folder of a generation -> a `recgraph.serving.Serving`."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from recgraph import blend, generations
from recgraph.blend import Coefficients
from recgraph.config import Settings
from recgraph.errors import GenerationError
from recgraph.fallback import read_popular
from recgraph.generations import Manifest, read_manifest
from recgraph.histories import open_histories
from recgraph.items import Items, read_items
from recgraph.lists import Rules, rules_of
from recgraph.model import Matrix
from recgraph.recommend import Shelf
from recgraph.serving.generation import Serving
from recgraph.transforms import read_fitted
from recgraph.weighing import (
    weighing_of_generation,
)


def open_serving(folder: Path, settings: Settings | None = None) -> Serving:
    """A generation, opened from its folder.

    Parameters
    ----------
    settings
        Where they hide items from all lists; without them nothing is hidden.

    Raises
    ------
    GenerationError
        The folder is no generation, or one that an older version of recgraph made.
    """
    manifest = read_manifest(folder)
    if manifest.feedback == "explicit" and manifest.mean_rating is None:
        message = (
            f"generation {manifest.id} predicts ratings, and an older version of recgraph made it "
            "without their mean, which a fold-in needs. Train again."
        )
        raise GenerationError(message)
    if "repeat" in manifest.coefficients and not (folder / generations.ITEM_AGAIN).exists():
        message = (
            f"generation {manifest.id} counts repeats as an older version of recgraph did. "
            "Train again."
        )
        raise GenerationError(message)
    histories, items, model = open_histories(folder), read_items(folder), _model(folder)
    return Serving(
        manifest=manifest,
        items=items,
        model=model,
        item_sums=_optional(folder / generations.ITEM_SUMS, np.empty(0, np.float32)),
        gram=np.asarray(model.factors.T @ model.factors),
        transform=read_fitted(folder / generations.TRANSFORM, len(model.factors)),
        coefficients=Coefficients(**manifest.coefficients),
        weighing=weighing_of_generation(manifest),
        shelf=_open_shelf(folder, manifest, items, settings),
        histories=histories,
    )


def _model(folder: Path) -> blend.Items:
    """The item side of all signals that are on."""
    return blend.Items(
        factors=np.load(folder / generations.ITEM_FACTORS, mmap_mode="r"),
        neighbours=_matrix(folder / generations.ITEM_NEIGHBOURS),
        similar=_matrix(folder / generations.ITEM_CONTENT),
        again=_optional(folder / generations.ITEM_AGAIN, None),
        discount=_optional(folder / generations.ITEM_DISCOUNT, None),
    )


def _matrix(path: Path) -> Matrix | None:
    return sparse.load_npz(path) if path.exists() else None


def _optional(path: Path, otherwise: Any) -> Any:
    return np.load(path, mmap_mode="r") if path.exists() else otherwise


def _open_shelf(folder: Path, manifest: Manifest, items: Items, settings: Settings | None) -> Shelf:
    """What the training made lists with, and what the settings hide now."""
    trained: dict[str, Any] = manifest.settings
    cap = trained.get("max_per_category")
    hidden = (
        None if settings is None else rules_of(items.products(), len(items.ids), settings).hidden
    )
    rules = Rules(trained["k"], items.categories.items, cap, hidden)
    return Shelf(rules, items.departments, read_popular(folder / generations.POPULAR))
