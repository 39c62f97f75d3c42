"""Interactions -> settings that are good without a search: what `recgraph evaluate` begins with.

docs/settings.md has what they are measured to do.
"""

import numpy as np

from recgraph import dataset
from recgraph.bench import Bench
from recgraph.dataset import Rows, rating_matrix
from recgraph.recommender import Choice
from recgraph.validation import hold_out

_AGAIN = 1.2
"""Rows of a pair from which on the same is bought again."""
_ALPHAS = (5.0, 40.0)
_SPARSE = 0.01
"""Density below which popular items are hardly held back."""
_K = 10
"""Length of the lists by which one of two rules is taken."""


def are_sales(rows: Rows, shape: tuple[int, int]) -> bool:
    """Whether rows are sales as they went on: they have times, and the same is bought again."""
    is_dated = dataset.days_spanned(rows) > 0
    return is_dated and _is_bought_again(rows, rating_matrix(rows, shape).nnz)


def default_choice(
    rows: Rows,
    shape: tuple[int, int],
    *,
    exclude_seen: bool = True,
    by_time: bool = False,
    seed: int = 42,
) -> Choice:
    """Settings that are good without a search, from what the interactions are like.

    Parameters
    ----------
    by_time
        What will be asked comes after these rows. Then there are two rules, for sales whose
        favourites change and for those where they stay; the better one by the end of the rows is
        taken, which costs a fit of each.
    """
    n_pairs, span = rating_matrix(rows, shape).nnz, dataset.days_spanned(rows)
    again = not exclude_seen and _is_bought_again(rows, n_pairs)
    stays = _by_density(n_pairs, shape, repeat_weight=6.0 if again else 0.0)
    if not (by_time and span):
        return stays
    changes = _for_what_comes(span, repeat_weight=60.0 if again else 0.0)
    held_out = hold_out(rows, shape, exclude_seen=exclude_seen, by_time=True, seed=seed)
    if not len(held_out.users):
        return changes
    bench = Bench(held_out, _K)
    return max(changes, stays, key=lambda choice: float(bench.measure(choice).mean()))


def _is_bought_again(rows: Rows, n_pairs: int) -> bool:
    return len(rows.users) >= _AGAIN * max(1, n_pairs)


def _for_what_comes(span: float, *, repeat_weight: float) -> Choice:
    """For sales that went on for ``span`` days, and go on."""
    return Choice(
        n_factors=64,
        alpha=1.0,
        regularization=20.0,
        transform="log",
        half_life_days=span / 6,
        walk_half_life_days=span / 26,
        walk_exponent=0.0,
        walk_weight=1.0,
        repeat_weight=repeat_weight,
        repeat_half_life_days=span / 3,
    )


def _by_density(n_pairs: int, shape: tuple[int, int], *, repeat_weight: float) -> Choice:
    """For who has what: the emptier the matrix, the more an entry says.

    The confidence in an entry falls with the root of the density; the penalty grows with it, and
    with the entries of a user. In an empty matrix a walk that lets popular items lead is as good as
    ALS; in a full one it adds little, and least where it leads to the popular.
    """
    density = max(1, n_pairs) / max(1, shape[0] * shape[1])
    alpha = float(np.clip(1.3 / np.sqrt(density), *_ALPHAS))
    is_sparse = density < _SPARSE
    return Choice(
        n_factors=128 if min(shape) > 1_000 else 64,
        alpha=alpha,
        regularization=0.09 * alpha * n_pairs / max(1, shape[0]),
        transform="binary",
        walk_exponent=0.3 if is_sparse else 0.5,
        walk_weight=0.5 if is_sparse else 0.3,
        repeat_weight=repeat_weight,
    )
