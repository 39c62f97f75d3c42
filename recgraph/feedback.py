"""Feedback -> lists without what it leaves out, with ranks that have no gap."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import msgspec

from recgraph.ports import Recommended


def without(rows: Sequence[Recommended], excluded: AbstractSet[str]) -> list[Recommended]:
    """Return the rows of the other items, in order, ranked anew from 1."""
    if not any(row.item_id in excluded for row in rows):
        return list(rows)
    kept = [row for row in rows if row.item_id not in excluded]
    return [msgspec.structs.replace(row, rank=rank) for rank, row in enumerate(kept, start=1)]
