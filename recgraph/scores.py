"""The scores of a block of users, and the best of them, without holding them all.

A score is a product of factors, plus what sparse parts add to it. They are made chunk by chunk, an
item a row and a user a column, in as much memory as the processor's cache holds: what passes
through memory once costs several times as much as the product that makes it.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from recgraph.model import (
    BLOCK,
    Floats,
    Ints,
    Matrix,
    Ragged,
    TopK,
    first_k,
    mask,
    score_users,
    top_k,
)

_USERS, _ITEMS = 256, 4096
"""Users and items of a chunk: 4 MiB of scores."""
_FEW, _WHOLE = 32, 2**22
"""Users and scores for which whole rows are faster: a chunk's rows are as short as users are few.
"""


class Scores(NamedTuple):
    """What the scores of some users are made from: ``users @ items.T``, and what comes to it."""

    users: Floats
    """``(n_users, n_factors)``."""
    items: Floats
    """``(n_items, n_factors)``."""
    added: Matrix | None = None
    """``(n_users, n_items)``: the sum of all other parts."""
    times: Floats | None = None
    """What the scores of each item are multiplied by at last, ``(n_items,)``; None is 1."""
    left_out: Matrix | None = None
    """``(n_users, n_items)``: a user's list holds nothing that has an entry here."""
    hidden: Ints | None = None
    """Items that nobody's list holds, ascending."""

    @property
    def shape(self) -> tuple[int, int]:
        """Users and items."""
        return len(self.users), len(self.items)

    def of(self, rows: Ints | slice) -> "Scores":
        """The scores of some of the users."""
        return self._replace(
            users=self.users[rows],
            added=None if self.added is None else self.added[rows],
            left_out=None if self.left_out is None else self.left_out[rows],
        )

    def whole(self) -> Floats:
        """All scores, float32 ``(n_users, n_items)``; -inf at what a list may not hold."""
        scores = score_users(self.users, self.items)
        if self.added is not None:
            scores[Ragged.of(self.added).rows(), self.added.indices] += self.added.data
        if self.times is not None:
            scores *= self.times
        if self.left_out is not None:
            mask(scores, Ragged.of(self.left_out))
        if self.hidden is not None:
            scores[:, self.hidden] = -np.inf
        return scores

    def top_k(self, k: int) -> TopK:
        """The k best items of each user, exactly; equal scores go to the smaller item index."""
        if len(self.users) < _FEW and np.prod(self.shape) <= _WHOLE:
            return top_k(self.whole(), k)
        starts = range(0, len(self.users), _USERS)
        parts = (self.of(slice(n, n + _USERS))._top_k_of_block(k) for n in starts)
        return joined(parts, k)

    def _top_k_of_block(self, k: int) -> TopK:
        found = _Best(k, len(self.users))
        for items, chunk in self._chunks():
            found.take(chunk, items.start)
        return found.lists()

    def _chunks(self) -> Iterator[tuple[slice, Floats]]:
        """Which items, and their scores ``(n, n_users)``, in an array that the next ones take."""
        n_users, n_items = self.shape
        room = np.empty((min(n_items, _ITEMS), n_users), np.float32)
        right = np.ascontiguousarray(self.users.T)
        added = None if self.added is None else self.added.tocsc()
        left_out = None if self.left_out is None else self.left_out.tocsc()
        for start in range(0, n_items, _ITEMS):
            items = slice(start, min(start + _ITEMS, n_items))
            chunk = room[: items.stop - start]
            np.matmul(self.items[items], right, out=chunk)
            if added is not None:
                chunk[_places(added, items)] += added.data[_entries(added, items)]
            if self.times is not None:
                chunk *= self.times[items, None]
            if left_out is not None:
                chunk[_places(left_out, items)] = -np.inf
            if self.hidden is not None:
                first, last = np.searchsorted(self.hidden, (items.start, items.stop))
                chunk[self.hidden[first:last] - start] = -np.inf
            yield items, chunk


def same_for_all(values: Floats, n_users: int) -> Scores:
    """Scores that are an item's own, ``(n_items,)``, whoever the user is."""
    return Scores(np.ones((n_users, 1), np.float32), values.astype(np.float32)[:, None])


def joined(parts: Iterable[TopK], k: int) -> TopK:
    """The lists of all users, in their order; without a part, of none."""
    found = list(parts) or [TopK(np.empty((0, k), np.int64), np.empty((0, k), np.float32))]
    return TopK(*map(np.concatenate, zip(*found, strict=True)))


def _entries(matrix: Matrix, items: slice) -> slice:
    """The entries of some columns of a CSC matrix."""
    return slice(matrix.indptr[items.start], matrix.indptr[items.stop])


def _places(matrix: Matrix, items: slice) -> tuple[Ints, Ints]:
    """Where they are: which item of these, and which user."""
    counts = np.diff(matrix.indptr[items.start : items.stop + 1])
    return np.repeat(np.arange(len(counts)), counts), matrix.indices[_entries(matrix, items)]


class _Best:
    """What of the chunks so far may be among the k best of each user.

    The k-th largest of the maxima of blocks of items is a lower bound of the k-th largest score, so
    only blocks whose maximum reaches it can hold a winner: few, whatever the number of items.
    """

    def __init__(self, k: int, n_users: int) -> None:
        self._k, self._n_users = k, n_users
        self._maxima = np.full((k, n_users), -np.inf, np.float32)
        self._found: list[tuple[Ints, Ints, Floats]] = []

    def take(self, chunk: Floats, first: int) -> None:
        """Take the scores ``(n, n_users)`` of the items from the first one on."""
        n_whole = len(chunk) // BLOCK * BLOCK
        self._take_blocks(chunk[:n_whole].reshape(-1, BLOCK, self._n_users), first)
        self._take_blocks(chunk[None, n_whole:], first + n_whole)

    def _take_blocks(self, blocks: Floats, first: int) -> None:
        """Blocks ``(n_blocks, n, n_users)``."""
        n_items = blocks.shape[1]
        if not blocks.size:
            return
        maxima = blocks.max(axis=1)
        best = np.concatenate((self._maxima, maxima))
        self._maxima = np.partition(best, -self._k, axis=0)[-self._k :]
        threshold = self._maxima[0]
        at, users = np.nonzero((maxima >= threshold) & (maxima > -np.inf))
        values = blocks[at, :, users]
        items = first + at[:, None] * n_items + np.arange(n_items)
        keep = (values >= threshold[users, None]) & (values > -np.inf)
        users = np.broadcast_to(users[:, None], keep.shape)
        self._found.append((users[keep], items[keep], values[keep]))

    def lists(self) -> TopK:
        """The k best items of each user."""
        if not self._found:
            nothing = np.empty(0, np.int64)
            return first_k(nothing, nothing, np.empty(0, np.float32), self._n_users, self._k)
        users, items, values = map(np.concatenate, zip(*self._found, strict=True))
        keep = values >= self._maxima[0][users]
        return first_k(users[keep], items[keep], values[keep], self._n_users, self._k)
