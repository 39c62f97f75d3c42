"""A generation's Parquet files -> the documents of its collections, a batch at a time.

Only ranks (three numbers an item) and the index of words (a number a word of a title) are held
whole; no document is.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from recgraph.columns import Columns as C
from recgraph.errors import GenerationError
from recgraph.services.connection import Document

USERS = "users"
LISTS = "lists"
NEWCOMER = "newcomer"
"""In ``lists``, of users whom the generation does not know."""
ITEMS = "items"
NEIGHBOURS = "neighbours"
WORDS = "words"
POPULAR_RANK = "popular_rank"
RECOMMENDED_RANK = "recommended_rank"
DEPARTMENT_RANK = "department_rank"
RANK_TYPE = np.dtype("<u4")
"""How the ranks of a word are packed."""

_BATCH = 500
"""Documents a batch: a profile of a thousand neighbours takes 400 kB of memory on its way."""
_LONGEST_WORD = 40
_LISTS = (C.BUYERS, C.RECOMMENDED_TO, C.SIMILAR)


def _batches(folder: Path, columns: Sequence[str] | None = None) -> Iterator[list[Document]]:
    """Return the rows of a folder of Parquet files as dictionaries, a batch at a time."""
    # Spark's older timestamps (INT96) would come as nanoseconds, which datetime cannot hold.
    options = pads.ParquetReadOptions(coerce_int96_timestamp_unit="us")
    try:
        dataset = pads.dataset(folder, format=pads.ParquetFileFormat(options))
        readahead = {"batch_readahead": 2, "fragment_readahead": 1}
        for batch in dataset.to_batches(columns=columns, batch_size=_BATCH, **readahead):
            yield _plain(batch.to_struct_array())
    except (OSError, pa.ArrowException) as error:
        message = f"{folder} cannot be read: {' '.join(str(error).split())}. Train again."
        raise GenerationError(message) from error


def _plain(array: pa.Array) -> list[Any]:
    """Return what ``to_pylist`` does, but for lists of structs in a fifth of its time.

    Times become naive UTC in milliseconds, which is what BSON holds.
    """
    if pa.types.is_list(array.type):
        values = _plain(array.flatten())
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        ends = [0, *pc.cumulative_sum(lengths).to_pylist()]
        return [values[start:end] for start, end in pairwise(ends)]
    if pa.types.is_struct(array.type):
        names = [field.name for field in array.type]
        rows = zip(*map(_plain, array.flatten()), strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]
    if pa.types.is_timestamp(array.type):
        times: list[Any] = array.to_numpy(zero_copy_only=False).astype("datetime64[ms]").tolist()
        return times
    return list(array.to_pylist(maps_as_pydicts="strict"))


def user_batches(folder: Path) -> Iterator[list[Document]]:
    """Give the profiles of all users, without their lists of recommendations."""
    columns = [name for name in pads.dataset(folder).schema.names if name != C.RECOMMENDED]
    for batch in _batches(folder, columns):
        yield [{"_id": user.pop(C.USER_ID), **user} for user in batch]


def list_batches(folder: Path) -> Iterator[list[Document]]:
    """Give the lists of all users."""
    for batch in _batches(folder, [C.USER_ID, C.RECOMMENDED]):
        yield [{"_id": user.pop(C.USER_ID), **user} for user in batch]


def item_batches(folder: Path, ranks: pd.DataFrame) -> Iterator[list[Document]]:
    """Give the profiles of all items with their ranks and without their lists."""
    columns = [name for name in pads.dataset(folder).schema.names if name not in _LISTS]
    position = 0
    for batch in _batches(folder, columns):
        of_batch = ranks.iloc[position : position + len(batch)].to_dict("records")
        position += len(batch)
        yield [
            {"_id": item.pop(C.ITEM_ID), **item, **{str(k): int(v) for k, v in rank.items() if v}}
            for item, rank in zip(batch, of_batch, strict=True)
        ]


def neighbour_batches(folder: Path) -> Iterator[list[Document]]:
    """Give the lists of all items."""
    known = pads.dataset(folder).schema.names  # an older generation has no similar items
    for batch in _batches(folder, [C.ITEM_ID, *(name for name in _LISTS if name in known)]):
        yield [{"_id": item.pop(C.ITEM_ID), **item} for item in batch]


def word_batches(postings: dict[str, list[int]]) -> Iterator[list[Document]]:
    """Give the index of words."""
    words = sorted(postings)
    for start in range(0, len(words), _BATCH):
        yield [
            {
                "_id": word,
                "word": word,
                "ranks": np.sort(postings[word]).astype(RANK_TYPE).tobytes(),
            }
            for word in words[start : start + _BATCH]
        ]


def ranks_of(folder: Path) -> pd.DataFrame:
    """Return the ranks of the items in the order of the files, from 1; 0 for no rank."""
    columns = [C.BOUGHT_DEGREE, C.RECOMMENDED_DEGREE, C.DEPARTMENT]
    rows = (row for batch in _batches(folder, columns) for row in batch)
    items = pd.DataFrame.from_records(rows, columns=columns)
    by_bought = items.sort_values(C.BOUGHT_DEGREE, ascending=False, kind="stable")
    listed = by_bought[by_bought[C.RECOMMENDED_DEGREE] > 0]
    listed = listed.sort_values(C.RECOMMENDED_DEGREE, ascending=False, kind="stable")
    ranks = {
        POPULAR_RANK: pd.Series(range(1, len(items) + 1), by_bought.index),
        RECOMMENDED_RANK: pd.Series(range(1, len(listed) + 1), listed.index),
        DEPARTMENT_RANK: listed.groupby(C.DEPARTMENT).cumcount() + 1,
    }
    return pd.DataFrame(ranks, index=items.index, dtype="float64").fillna(0).astype(int)


def postings_of(folder: Path, popular_ranks: list[int]) -> dict[str, list[int]]:
    """Return word -> popular ranks of the items with it in their title."""
    titles = (row[C.TITLE] for batch in _batches(folder, [C.TITLE]) for row in batch)
    postings: dict[str, list[int]] = defaultdict(list)
    for title, rank in zip(titles, popular_ranks, strict=True):
        for word in set(words_of(title or "")):
            postings[word].append(rank)
    return postings


def words_of(text: str) -> list[str]:
    """Return the words of a title or query, without case and accents, as the index has them."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return [word[:_LONGEST_WORD] for word in re.findall(r"\w+", letters)]
