"""Whoever goes through sorted edges sees each vertex once, with all of its edges, in order."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from recgraph.spark import edge_blocks
from recgraph.spark.edge_blocks import Block, map_blocks
from recgraph.spark.scratch import map_table, mappable, materialize, take_rows

DEGREES = {2: 3, 3: 9, 7: 1, 8: 2}
"""Vertex -> its edges; others up to 11 have none."""


@pytest.fixture
def few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_blocks, "_N_EDGES", 4)


def edges_of(spark: SparkSession, vertices: list[int]) -> DataFrame:
    """Edges of the vertices, in many files, those of a vertex in one."""
    rows = [(vertex, f"{vertex}/{number}", number) for number, vertex in enumerate(vertices)]
    frame = spark.createDataFrame(rows, "src long, kind string, number int")
    return materialize(frame.repartitionByRange(4, "src").sortWithinPartitions("src", "number"))


def counted(block: Block, _: pa.Table) -> pa.RecordBatch:
    n = np.diff(block.offsets)
    vertices = pa.array(np.arange(block.first, block.stop))
    return pa.RecordBatch.from_pydict({"vertex": vertices, "n": pa.array(n, pa.int32())})


def test_every_vertex_comes_once_with_all_its_edges(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    vertices = [vertex for vertex, n in DEGREES.items() for _ in range(n)]
    edges = edges_of(spark, vertices[::-1])
    assert len(edges.inputFiles()) > 1
    table = mappable(edges)
    made = map_blocks(edges, "src", (0, 12), table, counted, "vertex long, n int").toArrow()
    assert made.column("vertex").to_pylist() == list(range(12))
    assert made.column("n").to_pylist() == [DEGREES.get(vertex, 0) for vertex in range(12)]


def test_a_vertex_in_several_batches_is_one_block_s(tmp_path: Path, few_at_a_time: None) -> None:
    path = str(tmp_path / "edges.parquet")
    vertices = [vertex for vertex, n in DEGREES.items() for _ in range(n)]
    table = pa.table({"src": vertices, "kind": ["even" if v % 2 == 0 else "odd" for v in vertices]})
    pq.write_table(table, path, row_group_size=5)
    blocks = list(edge_blocks._blocks(path, "src", 1, 12))
    assert [(block.first, block.stop) for block in blocks] == [(1, 3), (3, 8), (8, 12)]
    assert [len(block.edges) for block in blocks] == [3, 10, 2]
    assert blocks[1].of_kind("odd").strongest(2).edges.column("src").to_pylist() == [3, 3, 7]
    assert blocks[1].of_kind("even").offsets.tolist() == [0] * 6


def test_the_strongest_come_first(tmp_path: Path) -> None:
    table = pa.table({"src": [5, 5, 5, 6], "kind": [""] * 4, "rating": [1, 3, 2, 9]})
    block = Block("src", 5, 7, table)
    best = block.strongest(2, -table.column("rating").to_numpy())
    assert best.edges.column("rating").to_pylist() == [3, 2, 9]
    assert best.lists(pa.array([3, 2, 9])).to_pylist() == [[3, 2], [9]]


def test_edges_out_of_order_are_no_blocks(tmp_path: Path, few_at_a_time: None) -> None:
    path = str(tmp_path / "edges.parquet")
    pq.write_table(pa.table({"src": [1, 3, 2]}), path)
    with pytest.raises(AssertionError, match="is not sorted by src"):
        list(edge_blocks._blocks(path, "src", 0, 4))


def test_without_edges_all_vertices_come(spark: SparkSession) -> None:
    edges, table = edges_of(spark, []), mappable(materialize(spark.range(3)))
    made = map_blocks(edges, "src", (0, 3), table, counted, "vertex long, n int").toArrow()
    assert made.to_pydict() == {"vertex": [0, 1, 2], "n": [0, 0, 0]}


def test_rows_of_many_pieces_are_those_of_one(spark: SparkSession) -> None:
    frame = spark.range(0, 100, 1, 7).selectExpr("id", "concat('ä', id) as name")
    table = map_table(mappable(materialize(frame)))
    assert table.column("id").num_chunks > 1
    rows = np.array([99, 3, 3, 50, 0])
    expected = {"id": rows.tolist(), "name": [f"ä{row}" for row in rows]}
    assert take_rows(table, rows).to_pydict() == expected
    assert take_rows(table, np.array([], np.int64)).to_pydict() == {"id": [], "name": []}
