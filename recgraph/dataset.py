"""A file of interactions -> arrays: what `recgraph evaluate` and `recgraph tune` work on.

Everything is held in memory: about 40 bytes a row, and the ids once.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from recgraph.errors import InputError
from recgraph.model import Floats, Ints, Matrix, offsets_of

Ids = NDArray[np.object_]

_SECONDS_A_DAY = 86_400
_MILLISECONDS = 100_000_000_000
"""A time above it is in milliseconds: in seconds it would be the year 5138."""


class Rows(NamedTuple):
    """Interactions, a row each, with dense indices; arrays of equal length."""

    users: Ints
    """int32."""
    items: Ints
    """int32."""
    ratings: Floats
    """float32; 1 where the file has none."""
    times: Ints | None
    """int64 seconds since 1970, None where the file has none."""
    is_bought: NDArray[np.bool_] | None = None
    """Which rows are of pairs that were bought, and not only viewed; None: all."""
    is_purchase: NDArray[np.bool_] | None = None
    """Which rows hold a purchase, and not only views and returns; None: all."""

    def where(self, mask: NDArray[np.bool_]) -> "Rows":
        """Some of the rows."""
        times = None if self.times is None else self.times[mask]
        flags = (
            each if each is None else each[mask] for each in (self.is_bought, self.is_purchase)
        )
        return Rows(self.users[mask], self.items[mask], self.ratings[mask], times, *flags)

    def bought(self) -> "Rows":
        """The rows of what was bought."""
        return self if self.is_bought is None else self.where(self.is_bought)

    def purchases(self) -> "Rows":
        """The rows of pairs that were bought that hold a purchase: one of each pair at least."""
        rows = self.bought()
        return rows if rows.is_purchase is None else rows.where(rows.is_purchase)

    def counted(self) -> "Rows":
        """The same rows, each counting 1: for implicit feedback a rating says no more."""
        return self._replace(ratings=np.ones(len(self.users), np.float32))


class Dataset(NamedTuple):
    """A training file: its rows, and which id stands behind each index."""

    rows: Rows
    user_ids: Ids
    """Ascending, ``(n_users,)``."""
    item_ids: Ids
    """Ascending, ``(n_items,)``."""
    n_left_out: int
    """Rows without an id, or whose rating or time is no finite number."""

    @property
    def shape(self) -> tuple[int, int]:
        """Users and items."""
        return len(self.user_ids), len(self.item_ids)


class Pairs(NamedTuple):
    """A test file: its distinct pairs, the last rating of each, in the ids of a training file."""

    user_ids: Ids
    """Distinct users, ascending."""
    rows: Ints
    """Of each pair, which of ``user_ids``."""
    users: Ints
    """Of each of ``user_ids``, its index in training, or -1."""
    items: Ints
    """Of each pair, the item's index in training, or -1."""
    item_ids: Ids
    """Of each pair."""
    ratings: Floats | None
    n_left_out: int

    def of_users(self, mask: NDArray[np.bool_]) -> "Pairs":
        """Those of some of ``user_ids``."""
        is_kept = mask[self.rows]
        return Pairs(
            user_ids=self.user_ids[mask],
            rows=(np.cumsum(mask) - 1)[self.rows[is_kept]],
            users=self.users[mask],
            items=self.items[is_kept],
            item_ids=self.item_ids[is_kept],
            ratings=None if self.ratings is None else self.ratings[is_kept],
            n_left_out=self.n_left_out,
        )


def read_dataset(path: Path, *, needs_rating: bool = False) -> Dataset:
    """The training file, with its ids.

    Parameters
    ----------
    path
        CSV (also compressed) with a header: user_id, item_id and, if there are any, rating and
        timestamp (ISO 8601, or seconds or milliseconds since 1970).

    Raises
    ------
    InputError
        It cannot be read, lacks a column, or no row is left.
    """
    table, n_left_out = _read(path, needs_rating=needs_rating)
    user_ids, users = np.unique(table["user_id"].to_numpy(object), return_inverse=True)
    item_ids, items = np.unique(table["item_id"].to_numpy(object), return_inverse=True)
    rows = Rows(users.astype(np.int32), items.astype(np.int32), _ratings(table), _times(table))
    return Dataset(rows, user_ids, item_ids, n_left_out)


def read_test(path: Path, train: Dataset, *, needs_rating: bool = False) -> Pairs:
    """The test file in the ids of the training file; a pair counts once, with its last rating."""
    table, n_left_out = _read(path, needs_rating=needs_rating)
    table = table.drop_duplicates(["user_id", "item_id"], keep="last")
    user_ids, rows = np.unique(table["user_id"].to_numpy(object), return_inverse=True)
    item_ids = table["item_id"].to_numpy(object)
    return Pairs(
        user_ids=user_ids,
        rows=rows,
        users=_index_of(user_ids, train.user_ids),
        items=_index_of(item_ids, train.item_ids),
        item_ids=item_ids,
        ratings=_ratings(table) if "rating" in table else None,
        n_left_out=n_left_out,
    )


def cap_users(data: Dataset, most: int) -> tuple[Dataset, dict[str, int]]:
    """The data with at most so many rows a user, and the rows that each user who has more had.

    The newest stay; without times, those that stand last in the file.
    """
    users, times = data.rows.users, data.rows.times
    counts = np.bincount(users, minlength=len(data.user_ids))
    above = np.flatnonzero(counts > most)
    if not len(above):
        return data, {}
    order = np.lexsort((np.arange(len(users)) if times is None else times, users))
    from_behind = np.cumsum(counts)[users[order]] - np.arange(len(users))
    kept = np.zeros(len(users), np.bool_)
    kept[order] = from_behind <= most
    named = {str(data.user_ids[user]): int(counts[user]) for user in above}
    return data._replace(rows=data.rows.where(kept)), named


def parted(data: Dataset, is_test: NDArray[np.bool_]) -> tuple[Dataset, Pairs]:
    """The rows that are not of the test, with ids of their own, and the test in these ids.

    Raises
    ------
    InputError
        Nothing is left on one side.
    """
    if not is_test.any() or is_test.all():
        message = (
            f"{int(is_test.sum())} of {len(is_test)} rows would be the test; both sides need some. "
            "Are there times, and users with two rows or more? Try another --split."
        )
        raise InputError(message)
    rows = data.rows.where(~is_test)
    (users, user_rows), (items, item_rows) = (
        np.unique(each, return_inverse=True) for each in (rows.users, rows.items)
    )
    rows = rows._replace(users=user_rows.astype(np.int32), items=item_rows.astype(np.int32))
    known = Dataset(rows, data.user_ids[users], data.item_ids[items], data.n_left_out)
    held = last_ratings(data.rows.where(is_test), data.shape)
    asked = np.flatnonzero(np.diff(held.indptr))
    user_ids, item_ids = data.user_ids[asked], data.item_ids[held.indices]
    return known, Pairs(
        user_ids=user_ids,
        rows=np.repeat(np.arange(len(asked)), np.diff(held.indptr)[asked]),
        users=_index_of(user_ids, known.user_ids),
        items=_index_of(item_ids, known.item_ids),
        item_ids=item_ids,
        ratings=held.data,
        n_left_out=0,
    )


def rating_matrix(rows: Rows, shape: tuple[int, int], values: Floats | None = None) -> Matrix:
    """The rows as a matrix; several rows of a pair are added up.

    Parameters
    ----------
    values
        What each row counts; 1 unless given.
    """
    values = np.ones(len(rows.users), np.float32) if values is None else values
    return sparse.csr_matrix((values, (rows.users, rows.items)), shape=shape, dtype=np.float32)


def last_ratings(rows: Rows, shape: tuple[int, int]) -> Matrix:
    """The rating of each pair, the last one of several; a rating of 0 stays an entry."""
    keys = rows.users.astype(np.int64) * shape[1] + rows.items
    order = np.arange(len(keys)) if rows.times is None else np.argsort(rows.times, kind="stable")
    _, from_behind = np.unique(keys[order][::-1], return_index=True)
    last = order[::-1][from_behind]
    counts = np.bincount(rows.users[last], minlength=shape[0])
    indptr = offsets_of(counts)
    return sparse.csr_matrix((rows.ratings[last], rows.items[last], indptr), shape=shape)


def days_spanned(rows: Rows) -> float:
    """From the first row to the last, in days; 0 without times."""
    if rows.times is None or not len(rows.times):
        return 0.0
    return float(np.ptp(rows.times)) / _SECONDS_A_DAY


def ages_in_days(times: Ints) -> Floats:
    """How much older than the newest each time is, float32."""
    ages: Floats = ((times.max() - times) / _SECONDS_A_DAY).astype(np.float32)
    return ages


def _read(path: Path, *, needs_rating: bool) -> tuple[pd.DataFrame, int]:
    try:
        table = pd.read_csv(path, dtype={"user_id": str, "item_id": str})
    except (OSError, ValueError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read as CSV: {error}"
        raise InputError(message) from error
    wanted = ["user_id", "item_id", *(["rating"] if needs_rating else [])]
    missing = [name for name in wanted if name not in table]
    if missing:
        found = ", ".join(map(str, table.columns))
        message = (
            f"{path} has no column {', '.join(missing)}; it has {found}. A header with user_id, "
            "item_id and, if there are any, rating and timestamp was expected."
        )
        raise InputError(message)
    kept = table[_is_whole(table)]
    if kept.empty:
        message = f"{path} has no row with a user_id, an item_id and finite numbers."
        raise InputError(message)
    return kept, len(table) - len(kept)


def _is_whole(table: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows have both ids, and a finite rating and a time where there are such columns."""
    whole = table["user_id"].notna() & table["item_id"].notna()
    if "rating" in table:
        whole &= np.isfinite(pd.to_numeric(table["rating"], errors="coerce"))
    if "timestamp" in table:
        whole &= _seconds(table["timestamp"]).notna()
    return whole


def _ratings(table: pd.DataFrame) -> Floats:
    if "rating" not in table:
        return np.ones(len(table), np.float32)
    return pd.to_numeric(table["rating"]).to_numpy(np.float32)


def _times(table: pd.DataFrame) -> Ints | None:
    if "timestamp" not in table:
        return None
    return _seconds(table["timestamp"]).to_numpy(np.float64).astype(np.int64)


def _seconds(column: "pd.Series[str]") -> "pd.Series[float]":
    """Times as seconds since 1970; NaN for what is none."""
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().any():
        return numbers.where(numbers < _MILLISECONDS, numbers / 1000)
    moments = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    return (moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)


def _index_of(ids: Ids, known: Ids) -> Ints:
    """Where each id stands among the known ones, -1 for an unknown one."""
    return pd.Index(known).get_indexer(pd.Index(ids)).astype(np.int64)
