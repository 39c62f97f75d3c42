"""PageRank by passes over the users is that of GraphX, which a GraphFrame asks."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from recgraph.spark.graph import ranked_vertices

N_USERS, N_ITEMS = 60, 25


def edges_of(spark: SparkSession, src: list[int], dst: list[int]) -> DataFrame:
    table = {"src": pa.array(src, pa.int64()), "dst": pa.array(dst, pa.int64())}
    return spark.createDataFrame(pa.table(table))


@pytest.fixture(scope="module")
def edges(spark: SparkSession) -> DataFrame:
    """Some pairs come twice, bought and recommended; the last users and items have no edge."""
    rng = np.random.default_rng(5)
    src = rng.integers(0, N_USERS - 7, 300)
    dst = N_USERS + (rng.random(300) ** 3 * (N_ITEMS - 4)).astype(int)
    return edges_of(spark, src.tolist(), dst.tolist())


def ranks(edges: DataFrame, most_by_graphx: int) -> pd.Series:
    vertices = edges.sparkSession.range(N_USERS + N_ITEMS)
    found = ranked_vertices(vertices, edges, N_USERS, N_ITEMS, most_by_graphx=most_by_graphx)
    return found.toPandas().set_index("id")["pagerank"].sort_index()


def test_ranks_are_those_of_graphx(edges: DataFrame) -> None:
    by_passes, by_graphx = ranks(edges, 0), ranks(edges, 300)
    assert by_passes.index.tolist() == list(range(N_USERS + N_ITEMS))
    np.testing.assert_allclose(by_passes, by_graphx, rtol=1e-7)
    assert by_graphx.max() > 3 * by_graphx.min()


def test_the_mean_is_one_and_who_has_no_edge_ranks_last(edges: DataFrame) -> None:
    found = ranks(edges, 0)
    assert found.mean() == pytest.approx(1, abs=1e-8)
    assert found[N_USERS - 1] == found[N_USERS + N_ITEMS - 1] == found.min()


def test_ranks_are_the_same_however_the_edges_are_parted(edges: DataFrame) -> None:
    pd.testing.assert_series_equal(
        ranks(edges, 0), ranks(edges.repartition(7), 0), check_exact=True
    )
