"""A generation's items by their index: ids, titles, departments, and rows of lists made of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads

from recgraph import generations
from recgraph.columns import Columns as C
from recgraph.lists import Codes, codes_of
from recgraph.model import Ints
from recgraph.ports import Product, Reason, Recommended, Similar


class Items(NamedTuple):
    """The items by their index; columns of ``(n_items,)``."""

    ids: pa.Array
    titles: pa.Array
    departments: Codes
    categories: Codes
    index_of: dict[str, int]
    """Item id -> index."""

    def places(self, item_ids: Iterable[str]) -> tuple[Ints, list[str]]:
        """The indices of the known ones among the items, and the ids of the others."""
        ids = list(item_ids)
        known = [self.index_of[item_id] for item_id in ids if item_id in self.index_of]
        return np.array(known, np.int64), [each for each in ids if each not in self.index_of]

    def id(self, item: int) -> str:
        """The id of an item."""
        return str(self.ids[item].as_py())

    def title(self, item: int) -> str | None:
        """Its title, if it has one."""
        title: str | None = self.titles[item].as_py()
        return title

    def department(self, item: int) -> str | None:
        """Its department, if it has one."""
        code = int(self.departments.items[item])
        return self.departments.names[code] if code >= 0 else None

    def in_department(self, department: str) -> Ints:
        """The indices of the items of a department; none of an unknown one."""
        names = self.departments.names
        wanted = names.index(department) if department in names else len(names)
        return np.flatnonzero(self.departments.items == wanted)

    def products(self) -> list[Product]:
        """Each item as the catalogue has it, but for its brand."""
        codes = self.categories.items.tolist()
        names = [self.categories.names[code] if code >= 0 else None for code in codes]
        return [
            Product(self.id(item), department=self.department(item), category=name)
            for item, name in enumerate(names)
        ]

    def recommended(
        self,
        item: int,
        rank: int,
        score: float,
        parts: dict[str, float],
        source: str,
        because: list[Reason],
    ) -> Recommended:
        """One row of a list."""
        title, department = self.title(item), self.department(item)
        return Recommended(self.id(item), rank, score, parts, source, title, department, because)

    def reason(self, item: int, share: float) -> Reason:
        """A bought item that led to a row."""
        return Reason(self.id(item), share, self.title(item))

    def similar(self, item: int, weight: float) -> Similar:
        """A row of the items similar to another."""
        return Similar(self.id(item), weight, self.title(item))


def read_items(generation: Path) -> Items:
    """The items of a generation's folder."""
    columns = [C.ITEM_INDEX, C.ITEM_ID, C.TITLE, C.DEPARTMENT, C.CATEGORY]
    table = pads.dataset(generation / generations.ITEMS).to_table(columns).sort_by(C.ITEM_INDEX)
    ids, titles, *codes = (table.column(name).combine_chunks() for name in columns[1:])
    index_of = {item_id: place for place, item_id in enumerate(ids.to_pylist())}
    departments, categories = (codes_of(each.to_pylist()) for each in codes)
    return Items(ids, titles, departments, categories, index_of)
