"""How alike two ranked lists are: Jaccard of their items, and rank-biased overlap.

References
----------
Webber, Moffat and Zobel (2010), A similarity measure for indefinite rankings, ACM TOIS 28(4):
extrapolated rank-biased overlap, for lists of unequal length as well (equation 32).
"""

import numpy as np

from recgraph.metrics import Floats64
from recgraph.model import Ints

PERSISTENCE = 0.9
"""p of rank-biased overlap: the first ten places make up 86 % of it."""


def overlaps(before: Ints, after: Ints) -> Ints:
    """Items that the first d places of both lists have in common, for d = 1 to k: ``(n, k)``.

    Parameters
    ----------
    before, after
        Item codes ``(n, k)``, best first, distinct in each row. A shorter list is filled up with
        codes that its counterpart does not have.
    """
    same = before[:, :, None] == after[:, None, :]
    found = [
        same[:, d, : d + 1].sum(axis=1) + same[:, :d, d].sum(axis=1) for d in range(same.shape[1])
    ]
    return np.cumsum(np.stack(found, axis=1), axis=1)


def jaccard(overlap: Ints, n_before: Ints, n_after: Ints) -> Floats64:
    """Common items / items of both lists together, 0 to 1, of each row of `overlaps`."""
    common = overlap[:, -1]
    result: Floats64 = common / (n_before + n_after - common)
    return result


def rank_biased_overlap(
    overlap: Ints, n_before: Ints, n_after: Ints, *, persistence: float = PERSISTENCE
) -> Floats64:
    """Extrapolated rank-biased overlap, 0 to 1, of each row of `overlaps`; no list is empty.

    The agreement at the end of the lists is taken to go on for ever, so that two equal lists of
    any length give 1.

    References
    ----------
    Webber, Moffat and Zobel (2010), equation 32.
    """
    p, rows = persistence, np.arange(len(overlap))
    d = np.arange(1, overlap.shape[1] + 1)
    short, long = np.minimum(n_before, n_after), np.maximum(n_before, n_after)
    x_short, x_long = overlap[rows, short - 1], overlap[rows, long - 1]
    agreement = np.where(d <= long[:, None], overlap / d, 0.0)
    # Beyond its end, the shorter list is taken to agree as much as it did up to there.
    is_beyond = (d > short[:, None]) & (d <= long[:, None])
    assumed = np.where(is_beyond, (x_short / short)[:, None] * (d - short[:, None]) / d, 0.0)
    at_the_end = (x_long - x_short) / long + x_short / short
    result: Floats64 = (1 - p) / p * ((agreement + assumed) @ p**d) + at_the_end * p**long
    return result


# --- all lists ----------------------------------------------------------------------------------
