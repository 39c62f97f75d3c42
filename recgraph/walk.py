"""Interactions -> the graph walk: user -> bought item -> other buyers -> item.

One sparse matrix carries it, the ~100 strongest `neighbours` of each item. Lists, similar items
and explanations all use this one matrix, so that what an explanation shows is what made the score:
the share of a bought item j in the score of item i is ``steps[u, j] * neighbours[j, i]``, and the
shares add up to the score.

With ``R`` the ratings ``(n_users, n_items)``, ``D_u`` and ``D_i`` their row and column sums::

    steps       D_u^-1/2 R D_i^-1/2                            user -> bought item
    neighbours  D_i^-1/2 R' D_u^-1/2  D_u^-1/2 L D_l^-e        item -> other buyers -> item

``L`` are the ratings of the last step, ``D_l`` its column sums: R itself, or how lately each user
bought each item for the first time, so that the walk ends at what is discovered now. The exponent e
says how much popular items are held back: 1/2 is the symmetric walk of GF-CF, 0 none.

References
----------
Shen et al. (2021), How powerful is graph convolution for recommendation? (GF-CF), arXiv 2108.07567;
Paudel et al. (2017), Updatable, accurate, diverse, and scalable recommendations for interactive
applications (RP3beta), doi 10.1145/2955101.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse

from recgraph.model import Floats, Ints, Matrix, offsets_of

_MAX_ENTRIES = 20_000_000
"""Entries of the full product that are held at once: 12 bytes each."""


class Steps(NamedTuple):
    """The two halves of the walk from item to item; both float32."""

    back: Matrix
    """Item -> its buyers, ``(n_items, n_users)``."""
    on: Matrix
    """Buyer -> items, ``(n_users, n_items)``."""


def user_steps(ratings: Matrix, item_sums: Floats) -> Matrix:
    """The first step of each user, ``(n_users, n_items)``: ratings over the roots of the degrees.

    Parameters
    ----------
    ratings
        Of some users, 0 or more.
    item_sums
        Sum of the ratings of each item over *all* users, ``(n_items,)``.
    """
    sums = np.asarray(ratings.sum(axis=1)).ravel()
    return _scaled(ratings, power(sums, -0.5), power(item_sums, -0.5))


def item_steps(ratings: Matrix, last: Matrix | None = None, *, exponent: float = 0.5) -> Steps:
    """Both halves of the walk between items.

    Parameters
    ----------
    ratings
        ``(n_users, n_items)``, 0 or more.
    last
        Ratings of the last step, of the same shape; those of the first one unless given.
    exponent
        How much popular items are held back, 0 (not at all) to 1.
    """
    last = ratings if last is None else last
    by_user = power(np.asarray(ratings.sum(axis=1)).ravel(), -0.5)
    sums = np.asarray(ratings.sum(axis=0)).ravel(), np.asarray(last.sum(axis=0)).ravel()
    back = _scaled(ratings, by_user, power(sums[0], -0.5)).T.tocsr()
    return Steps(back, _scaled(last, by_user, power(sums[1], -exponent)))


def item_neighbours(steps: Steps, n_neighbours: int) -> Matrix:
    """The strongest neighbours of every item, ``(n_items, n_items)``, itself left out.

    Row j holds at most ``n_neighbours`` entries: where a step from item j leads. The full product
    is made in blocks of items of at most ``_MAX_ENTRIES`` entries, never as a whole.
    """
    blocks = [strongest(steps, items, n_neighbours) for items in item_blocks(steps, _MAX_ENTRIES)]
    return sparse.vstack(blocks, format="csr", dtype=np.float32)


def item_blocks(steps: Steps, max_entries: int) -> Iterator[Ints]:
    """Items in blocks whose rows of the full product have at most ``max_entries`` entries.

    A block has one item at least.
    """
    work = np.asarray(steps.back.astype(bool) @ np.diff(steps.on.indptr), dtype=np.int64)
    blocks = np.cumsum(np.minimum(work, steps.on.shape[1])) // max_entries
    starts = np.flatnonzero(np.diff(blocks, prepend=-1))
    yield from np.split(np.arange(len(work)), starts[1:])


def strongest(steps: Steps, items: Ints, n_neighbours: int) -> Matrix:
    """The strongest neighbours of some items, ``(len(items), n_items)``; equal ones by index."""
    product = (steps.back[items] @ steps.on).tocsr()
    kept = [_strongest_of(product, row, int(item), n_neighbours) for row, item in enumerate(items)]
    indptr = offsets_of([len(each) for each in kept])
    chosen = np.concatenate(kept).astype(np.int64)
    entries = (product.data[chosen], product.indices[chosen], indptr)
    return sparse.csr_matrix(entries, shape=product.shape, dtype=np.float32)


class Shares(NamedTuple):
    """What led to some recommendations; both arrays have shape ``(n_users, k, n)``."""

    items: Ints
    """Bought items, the largest share first; -1 where there are fewer."""
    shares: Floats
    """Their shares of the walk's score; 0 where there are fewer."""


def top_shares(steps: Matrix, neighbours: Matrix, lists: Ints, n: int) -> Shares:
    """The n bought items with the largest shares of the score of each listed item.

    Parameters
    ----------
    steps
        First steps of some users, ``(n_users, n_items)``.
    lists
        Item indices ``(n_users, k)``, -1 where a list is shorter.
    """
    top = Shares(np.full((*lists.shape, n), -1), np.zeros((*lists.shape, n), np.float32))
    for user, listed in enumerate(lists):
        bought = slice(steps.indptr[user], steps.indptr[user + 1])
        for place, items, shares in _shares_of(
            steps.indices[bought], steps.data[bought], neighbours, listed
        ):
            order = np.lexsort((items, -shares))[:n]
            top.items[user, place, : len(order)] = items[order]
            top.shares[user, place, : len(order)] = shares[order]
    return top


def _shares_of(
    bought: Ints, weights: Floats, neighbours: Matrix, listed: Ints
) -> Iterator[tuple[int, Ints, Floats]]:
    """Place in the list, the bought items that lead there, and their shares."""
    near = neighbours[bought]
    place_of = np.full(neighbours.shape[1], -1)
    place_of[listed[listed >= 0]] = np.flatnonzero(listed >= 0)
    places = place_of[near.indices]
    led = np.flatnonzero(places >= 0)
    rows = np.searchsorted(near.indptr, led, side="right") - 1
    shares = weights[rows] * near.data[led]
    for place in np.unique(places[led]):
        here = places[led] == place
        yield int(place), bought[rows[here]], shares[here]


def _strongest_of(product: Matrix, row: int, item: int, n_neighbours: int) -> Ints:
    """Where the entries of one row's strongest neighbours stand, in the order of their items."""
    places = np.arange(product.indptr[row], product.indptr[row + 1])
    places = places[product.indices[places] != item]
    if len(places) > n_neighbours:
        values = product.data[places]
        least = np.partition(values, -n_neighbours)[-n_neighbours]
        places = places[values >= least]
        order = np.lexsort((product.indices[places], -product.data[places]))
        places = places[order[:n_neighbours]]
    ordered: Ints = places[np.argsort(product.indices[places])]
    return ordered


def power(sums: Floats, exponent: float) -> Floats:
    """The sums to a power, 0 where a sum is 0."""
    result = np.zeros(len(sums), np.float32)
    np.power(sums, exponent, out=result, where=sums > 0, casting="same_kind")
    return result


def _scaled(matrix: Matrix, by_row: Floats, by_column: Floats) -> Matrix:
    return (sparse.diags(by_row) @ matrix @ sparse.diags(by_column)).tocsr().astype(np.float32)
