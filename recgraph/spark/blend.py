"""Factors, walk, content -> one model of all signals, and blocks of users for `recgraph.blend`.

The item side (`Side`) is broadcast: a Python worker holds 4 bytes for each factor of each item and
8 bytes for each neighbour, by walk or by content. The users' side comes row by row, so that it
never is in one place.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recgraph import blend, repeats
from recgraph.blend import Coefficients
from recgraph.columns import Columns as C
from recgraph.config import Settings
from recgraph.model import Floats
from recgraph.spark.blocks import (
    Buyers,
    bought,
    count_buyers,
    csr,
    lists_by_user,
    matrix,
    with_lists,
)
from recgraph.spark.content import fit_content, neighbours_by_reviews, weighed, weight_of
from recgraph.spark.model import Factors, Indexed, fit_als
from recgraph.spark.scratch import materialize
from recgraph.spark.walk import fit_walk, no_walk
from recgraph.walk import user_steps

SEEN, RATINGS, REPEATS = "seen_items", "seen_ratings", "seen_repeats"
"""Columns of a user's row: what the user bought, with both ratings of it."""

_N_SAMPLED = 500
"""Users over whom the size of each signal is taken."""


class Side(NamedTuple):
    """What a worker needs besides its users."""

    items: blend.Items
    item_sums: Floats
    """`recgraph.spark.walk.Walk.item_sums`; empty where nothing needs first steps."""
    coefficients: Coefficients
    """Of all parts, also of those that only evaluation looks at."""


class Model(NamedTuple):
    """Everything that one training found."""

    indexed: Indexed
    factors: Factors
    users: DataFrame
    """`with_bought`, materialized: lists, evaluation and samples read it."""
    side: Side
    neighbours: DataFrame
    """`recgraph.spark.walk.NEIGHBOURS`: those of ``side``, as a frame; cold items have theirs by
    content."""
    buyers: Buyers


def fit(indexed: Indexed, settings: Settings) -> Model:
    """All signals of the interactions, and what each counts."""
    return blended(indexed, fit_als(indexed, settings), settings)


def blended(indexed: Indexed, factors: Factors, settings: Settings) -> Model:
    """The model of factors that are fitted already: walk and content, and what each counts."""
    weights = weights_of(indexed, settings)
    content = fit_content(indexed, settings)
    if weights.walk:
        walk = fit_walk(indexed, settings)
    else:
        walk = no_walk(indexed, with_steps=content is not None)
    buyers = count_buyers(indexed, settings)
    again = repeats.again(buyers.before, buyers.kept) if weights.repeat else None
    items = blend.Items(factors.items, walk.neighbours, again=again)
    rows = walk.rows
    if content is not None:
        items = items._replace(similar=content.similar)
        first_cold = indexed.n_items - indexed.n_cold
        rows = rows.union(content.rows.where(F.col(C.ITEM_INDEX) >= first_cold))
    bare = Side(items, walk.item_sums, weights)
    users = materialize(with_bought(factors.users, indexed))
    model = Model(indexed, factors, users, bare, rows, buyers)
    if settings.feedback == "explicit":
        return model._replace(neighbours=neighbours_by_reviews(indexed, settings) or rows)
    sample = users_of(_sampled(model, settings.seed), bare)
    coefficients = blend.coefficients_from_weights(weights, sample, items)
    discount = blend.popularity_discount(buyers.ever, settings.popularity_discount)
    items = items._replace(discount=discount)
    if content is not None:
        items = items._replace(similar=weighed(content, indexed, settings))
    return model._replace(side=Side(items, walk.item_sums, coefficients))


def weights_of(indexed: Indexed, settings: Settings) -> Coefficients:
    """How much each signal counts; a rating that is predicted has one signal, and no other size."""
    if settings.feedback == "explicit":
        return Coefficients(als=1.0)
    return Coefficients(
        als=settings.als_weight,
        walk=settings.walk_weight,
        repeat=settings.repeat_weight,
        content=weight_of(indexed, settings),
    )


def of_lists(coefficients: Coefficients, *, exclude_seen: bool) -> Coefficients:
    """The coefficients that lists are made with: without repeats where these are left out."""
    return coefficients._replace(repeat=0.0) if exclude_seen else coefficients


def name_of_lists(model: Model, settings: Settings) -> str:
    """What the lists are made by, such as ``als+walk``."""
    counts = of_lists(model.side.coefficients, exclude_seen=settings.exclude_seen)
    return blend.source_of(counts)


def with_bought(users: DataFrame, indexed: Indexed) -> DataFrame:
    """The users with what each of them bought, by item."""
    columns = {C.ITEM_INDEX: SEEN, C.RATING: RATINGS, C.REPEAT_RATING: REPEATS}
    return with_lists(users, lists_by_user(bought(indexed), columns))


def users_of(batch: pa.RecordBatch, side: Side) -> blend.Users:
    """A block of the rows of `Model.users`."""
    factors = matrix(batch, C.FACTORS)
    n_items = len(side.items.factors)
    steps = None
    if len(side.item_sums):
        ratings = csr(batch, SEEN, RATINGS, n_items)
        steps = user_steps(ratings.log1p(), side.item_sums)
    return blend.Users(factors, steps, csr(batch, SEEN, REPEATS, n_items))


def _sampled(model: Model, seed: int) -> pa.RecordBatch:
    """Seeded sampled users on the driver, always in the same order."""
    n_users = model.indexed.n_users
    chosen = np.random.default_rng(seed).permutation(n_users)[:_N_SAMPLED]
    rows = model.users.where(F.col(C.INDEX).isin(chosen.tolist()))
    (batch,) = rows.orderBy(C.INDEX).toArrow().combine_chunks().to_batches()
    return batch
