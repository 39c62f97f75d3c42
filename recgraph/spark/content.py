"""Products -> the items that each item resembles, in blocks of items, as the walk's neighbours."""

from typing import NamedTuple

import numpy as np
from pyspark.sql import DataFrame

from recgraph import content
from recgraph.config import Settings
from recgraph.model import Matrix
from recgraph.ports import Product
from recgraph.spark.model import Indexed
from recgraph.spark.walk import item_neighbours, neighbour_matrix


class Content(NamedTuple):
    """What the catalogue says of the items."""

    similar: Matrix
    """`recgraph.content.similar`, on the driver and in every worker that makes lists."""
    is_cold: content.Bools
    rows: DataFrame
    """The strongest sold neighbours of each item, `recgraph.spark.walk.NEIGHBOURS`."""


def fit_content(indexed: Indexed, settings: Settings) -> Content | None:
    """What each item resembles; None where nothing of that counts.

    Where content counts for cold items only, sold ones have no neighbours: these would be most of
    the work.
    """
    if settings.feedback == "explicit" or not weight_of(indexed, settings):
        return None
    is_cold = np.arange(indexed.n_items) >= indexed.n_items - indexed.n_cold
    steps = content.item_steps(_features(indexed), is_cold, only_cold=not settings.content_weight)
    spark = indexed.interactions.sparkSession
    rows = item_neighbours(spark, steps, settings.content_neighbours)
    return Content(content.similar(neighbour_matrix(rows, indexed.n_items), is_cold), is_cold, rows)


def neighbours_by_reviews(indexed: Indexed, settings: Settings) -> DataFrame | None:
    """The items that each item resembles, by what is said of it; None without reviews.

    `recgraph.spark.walk.NEIGHBOURS`. Where ratings are predicted they count in no score: they are
    the similar products of a page.
    """
    if indexed.vectors is None:
        return None
    is_cold = np.zeros(indexed.n_items, bool)
    steps = content.item_steps(_features(indexed), is_cold, only_cold=False)
    spark = indexed.interactions.sparkSession
    return item_neighbours(spark, steps, settings.content_neighbours)


def _features(indexed: Indexed) -> Matrix:
    """What the catalogue says of each item, and beside it what the reviews say."""
    found = content.features(indexed.products or [Product("")] * indexed.n_items)
    return found if indexed.vectors is None else content.beside(found, indexed.vectors)


def weight_of(indexed: Indexed, settings: Settings) -> float:
    """What the part counts: as for cold items where there are some, else as between sold ones."""
    if not indexed.products:
        return 0.0
    return settings.cold_weight if indexed.n_cold else settings.content_weight


def weighed(found: Content, indexed: Indexed, settings: Settings) -> Matrix:
    """``similar`` where what sold items say of each other counts ``content_weight``."""
    share = settings.content_weight / weight_of(indexed, settings)
    return content.weighed(found.similar, found.is_cold, between_sold=share)
