"""The exported CSV read back by GraphFrames: the same graph, to the vertex and the edge."""

from pathlib import Path

from graphframes import GraphFrame
from pyspark.sql import SparkSession

from recgraph import exports
from tests.sample import write_sample_generation


def test_graphframes_reads_the_export_as_the_same_graph(
    spark: SparkSession, tmp_path: Path
) -> None:
    folder = write_sample_generation(tmp_path / "generations")
    exports.write_export(folder, tmp_path / "exports")
    # A row may hold line breaks and doubled quotes, as RFC 4180 has them.
    reader = spark.read.options(header=True, multiLine=True, quote='"', escape='"')
    graph = GraphFrame(
        reader.csv(str(tmp_path / "exports" / "vertices.csv")),
        reader.csv(str(tmp_path / "exports" / "edges.csv")),
    )
    vertices = spark.read.parquet(str(folder / "vertices"))
    edges = spark.read.parquet(str(folder / "edges"))

    def key(row: object) -> tuple[str, ...]:
        return tuple(exports.unescape(str(row[name])) for name in ("src", "dst", "kind"))  # type: ignore[index]

    found = {exports.unescape(row["id"]) for row in graph.vertices.collect()}
    assert found == {row["id"] for row in vertices.collect()}
    assert sorted(map(key, graph.edges.collect())) == sorted(map(key, edges.collect()))
    in_degrees = {exports.unescape(row["id"]): row["inDegree"] for row in graph.inDegrees.collect()}
    expected = {row["dst"]: row["count"] for row in edges.groupBy("dst").count().collect()}
    assert in_degrees == expected
