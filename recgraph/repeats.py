"""Own purchases -> what a user buys again, the signal ``repeat``: strength + again.

The *strength* of a purchase is its sum after decay, less where the user has been silent for longer
than that sum lets expect. Added to it is *again*, a number of the item: how readily its buyers come
back to it. So what was bought every week and no more for two months falls behind, and milk bought
once stands before a lamp bought once.

References
----------
Schmittlein, Morrison and Colombo (1987), Counting your customers: who are they and what will they
do next?, for silence at odds with the own rate; Fader, Hardie and Lee (2005), Counting your
customers the easy way, for a prior that is added to the purchases.
"""

import numpy as np
from scipy import sparse

from recgraph.model import Floats, Matrix

AGAIN_DAYS = 28.0
"""What was bought before the last so many days may have been bought again in them: four whole
weeks, so that each weekday counts alike."""
MISSED = 0.5
"""From so many purchases on that are missing, silence counts."""
_AGAIN = 0.4
"""Purchases that an item counts for whose buyers come back as those of the mean item."""
_DOUBT = 10.0
"""So many purchases draw what is known of an item towards the mean."""


def strengths(sums: Floats, silent_days: Floats, half_life_days: float | None) -> Floats:
    """The sums of purchases after decay, those of users who are silent too long made less.

    A steady buyer of rate r has a sum of ``r * half_life / ln 2``. So a sum lets expect ``missed``
    purchases in the silence since the last event; beyond `MISSED` it is divided by the root of
    their ratio. Without a half-life it stays as it is.
    """
    if half_life_days is None:
        return sums
    missed = sums * silent_days * (np.log(2) / half_life_days)
    result: Floats = (sums / np.sqrt(np.maximum(missed / MISSED, 1.0))).astype(np.float32)
    return result


def again(before: Floats, kept: Floats) -> Floats:
    """What each item adds for those who bought it: ``_AGAIN`` times its own share over the mean's.

    Parameters
    ----------
    before
        Purchases before the last `AGAIN_DAYS`, after decay, summed over the buyers of each item.
    kept
        Those of them whose buyer bought the item again in these days.
    """
    if not kept.sum():
        return np.zeros(len(before), np.float32)
    mean = kept.sum() / before.sum()
    shares = (kept + _DOUBT * mean) / (before + _DOUBT)
    result: Floats = (_AGAIN / mean * shares).astype(np.float32)
    return result


def with_again(own: Matrix, again: Floats | None) -> Matrix:
    """The signal of some users, ``(n_users, n_items)``: their strengths and what the items add."""
    if again is None:
        return own
    values = own.data + again[own.indices]
    return sparse.csr_matrix((values, own.indices, own.indptr), shape=own.shape)
