"""Generations -> documents: the ranks that top lists are read by."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recgraph.services.documents import ranks_of


@pytest.mark.parametrize(
    ("recommended", "ranks"),
    [([0, 0, 0], [0, 0, 0]), ([1, 0, 4], [2, 0, 1])],
)
def test_ranks_of_items_without_a_catalogue(
    tmp_path: Path, recommended: list[int], ranks: list[int]
) -> None:
    table = pa.table(
        {
            "bought_degree": [5, 9, 1],
            "recommended_degree": recommended,
            "department": pa.array([None] * 3, pa.string()),
        }
    )
    pq.write_table(table, tmp_path / "part-0.parquet")
    found = ranks_of(tmp_path)
    assert found["recommended_rank"].tolist() == ranks
    assert found["popular_rank"].tolist() == [2, 1, 3]
    assert found["department_rank"].tolist() == [0, 0, 0]
