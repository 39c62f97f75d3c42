"""The catalogue -> what is known of each item, and the items that nobody has bought yet.

Both are held on the driver: some hundred bytes for each line of the catalogue.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from recgraph import content
from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.ports import Product
from recgraph.spark.model import Indexed
from recgraph.spark.scratch import materialize


def catalogued(indexed: Indexed, catalogue: Mapping[str, Product], settings: Settings) -> Indexed:
    """The same interactions with the product of each item, and cold items behind the others.

    Indices of the items with interactions stay as they are, so that cold ones change no factor.
    """
    ids = indexed.items.orderBy(C.ITEM_INDEX).toArrow().column(C.ITEM_ID).to_pylist()
    is_asked = settings.feedback == "implicit" and settings.cold_weight > 0
    cold = content.cold_items(catalogue, ids, settings.max_cold_items) if is_asked else []
    products = [catalogue.get(each) or Product(each) for each in (*ids, *cold)]
    if not cold:
        return indexed._replace(products=products)
    indices = np.arange(len(ids), len(products), dtype=np.int32)
    rows = pa.table({C.ITEM_ID: pa.array(cold, pa.string()), C.ITEM_INDEX: indices})
    spark = indexed.interactions.sparkSession
    items = materialize(indexed.items.unionByName(spark.createDataFrame(rows)))
    n_items, n_cold = len(products), len(cold)
    return indexed._replace(items=items, n_items=n_items, n_cold=n_cold, products=products)
