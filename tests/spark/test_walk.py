"""The walk on Spark: the same neighbours as in one process."""

import numpy as np
from pyspark.sql import DataFrame
from scipy import sparse

from recgraph import walk
from recgraph.config import Settings
from recgraph.spark.model import index_interactions
from recgraph.spark.walk import fit_walk


def test_neighbours_are_those_of_one_process(checkerboard: DataFrame, small: Settings) -> None:
    recent = "cast(rating * (1 + crc32(item_id) % 5) as float) as recent_rating"
    names = [f"`{name}`" for name in checkerboard.columns if name != "recent_rating"]
    rated = checkerboard.selectExpr(*names, recent)
    indexed = index_interactions(rated)
    settings = small.model_copy(update={"walk_neighbours": 4})
    found = fit_walk(indexed, settings)

    rows = indexed.interactions.toPandas()
    where = rows["user_index"].to_numpy(), rows["item_index"].to_numpy()
    first, last = (
        sparse.csr_matrix((np.log1p(rows[name].to_numpy()), where), shape=(20, 20))
        for name in ("rating", "recent_rating")
    )
    steps = walk.item_steps(first, last, exponent=settings.walk_exponent)
    expected = walk.item_neighbours(steps, 4)
    assert found.neighbours is not None
    assert np.diff(found.neighbours.indptr).tolist() == [4] * 20
    np.testing.assert_array_equal(found.neighbours.toarray(), expected.toarray())
    np.testing.assert_allclose(found.item_sums, np.full(20, 9 * np.log(2)), rtol=1e-6)


def test_what_is_only_viewed_leads_nowhere(checkerboard: DataFrame, small: Settings) -> None:
    viewed = checkerboard.withColumn("is_bought", checkerboard["item_id"] != "item 03")
    neighbours = fit_walk(index_interactions(viewed), small).neighbours
    assert neighbours is not None
    assert neighbours[3].nnz == neighbours[:, 3].nnz == 0
    assert neighbours[5].nnz == 8
