"""A given split -> metrics, lists and predictions, in this process: what `recgraph evaluate` does.

Everything that is chosen is chosen on the training file; the test file is read for its users and
pairs, and its answers are looked at once, at the end. The definitions are those of docs/metrics.md:
a figure is a mean over all test users, a user or item unknown in training counts as a miss.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from recgraph import dataset, explicit, metrics, recommender
from recgraph.blend import Coefficients
from recgraph.dataset import Dataset, Pairs
from recgraph.model import Floats, Ints, Matrix, Ragged, TopK, mask, top_k
from recgraph.recommender import Choice, Signals

BLEND = "als+walk"
BIASED = "biases+als"
_RECENT_DAYS = 28


class Lists(NamedTuple):
    """One recommender's lists for all test users."""

    recommender: str
    top: TopK


class Outcome(NamedTuple):
    """What an evaluation found."""

    ranking: dict[str, dict[str, float]]
    """Recommender -> metric -> value."""
    errors: dict[str, dict[str, float]]
    """Predictor of ratings -> RMSE and MAE; empty for implicit feedback."""
    recommendations: pd.DataFrame
    """user_id, item_id, rank, score: the lists of the last recommender."""
    predictions: pd.DataFrame | None
    """user_id, item_id, prediction."""


def evaluate_implicit(
    train: Dataset, test: Pairs, choice: Choice, *, k: int, exclude_seen: bool
) -> Outcome:
    """Every recommender's lists against the test, and the blend's lists."""
    signals = recommender.fit(train.rows, train.shape, choice)
    popularity = _popularity(train.rows, train.shape)
    found, lists = {}, None
    for lists in _all_lists(signals, train, test, choice, k=k, exclude_seen=exclude_seen):
        found[lists.recommender] = _ranking(lists.top, test, popularity, train.shape, choice.seed)
    assert lists is not None  # there are four recommenders at least
    return Outcome(found, {}, _recommendations(lists.top, train, test), None)


def evaluate_explicit(
    train: Dataset, test: Pairs, choice: explicit.Choice, lists: Choice, *, k: int
) -> Outcome:
    """Errors on the ratings of the test, and lists.

    The lists are the blend's, from who rated what: ordered by predicted rating they would be full
    of items that hardly anybody rated.
    """
    assert test.ratings is not None  # `read_test` asked for them
    ratings = dataset.last_ratings(train.rows, train.shape)
    model = explicit.fit(ratings, choice)
    users = test.users[test.rows]
    predicted = {
        "mean": np.full(len(users), ratings.data.mean(), np.float32),
        "biases": explicit.predict(_without_factors(model), users, test.items),
        BIASED: explicit.predict(model, users, test.items),
    }
    outcome = evaluate_implicit(train, test, lists, k=k, exclude_seen=True)
    errors = {name: _errors(values, test.ratings) for name, values in predicted.items()}
    pairs = {"user_id": test.user_ids[test.rows], "item_id": test.item_ids}
    predictions = pd.DataFrame(pairs | {"prediction": predicted[BIASED]})
    return outcome._replace(errors=errors, predictions=predictions)


def write(outcome: Outcome, summary: dict[str, Any], folder: Path) -> None:
    """Write ``metrics.json``, ``recommendations.csv`` and, for ratings, ``predictions.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    outcome.recommendations.to_csv(folder / "recommendations.csv", index=False)
    if outcome.predictions is not None:
        outcome.predictions.to_csv(folder / "predictions.csv", index=False)
    encoded = msgspec.json.format(msgspec.json.encode(summary), indent=2)
    (folder / "metrics.json").write_bytes(encoded + b"\n")


def _all_lists(
    signals: Signals, train: Dataset, test: Pairs, choice: Choice, *, k: int, exclude_seen: bool
) -> Iterator[Lists]:
    """The lists of the baselines, of each signal and, last, of the blend."""
    seen = dataset.rating_matrix(train.rows, train.shape)
    known = np.flatnonzero(test.users >= 0)
    users = test.users[known]
    left_out = seen if exclude_seen else None
    popular = _popularity(train.rows, train.shape)

    def spread(top: TopK) -> TopK:
        """Lists of the known users, and the popular list for the others."""
        fallback = top_k(popular[None, :], k)
        items = np.repeat(fallback.items, len(test.users), axis=0)
        scores = np.repeat(fallback.scores, len(test.users), axis=0)
        items[known], scores[known] = top
        return TopK(items, scores)

    baselines = {"popular": popular}
    if train.rows.times is not None:
        is_recent = dataset.ages_in_days(train.rows.times) < _RECENT_DAYS
        baselines["recent"] = _popularity(train.rows.where(is_recent), train.shape)
    for name, popularity in baselines.items():
        yield Lists(name, spread(_popular_lists(popularity, users, left_out, k)))
    if not exclude_seen:
        yield Lists("repeats", spread(_repeat_lists(seen, popular, users, k)))
    for name, weights in _weights(choice).items():
        blended = recommender.coefficients(signals, weights, seed=choice.seed)
        top = recommender.recommend(signals, blended, users, k=k, seen=left_out)
        yield Lists(name, spread(top))


def _weights(choice: Choice) -> dict[str, Coefficients]:
    return {
        "als": Coefficients(als=1.0),
        "walk": Coefficients(als=0.0, walk=1.0),
        BLEND: recommender.weights_of(choice),
    }


def _popularity(rows: dataset.Rows, shape: tuple[int, int]) -> Floats:
    """Users who have each item, float32 ``(n_items,)``."""
    matrix = dataset.rating_matrix(rows, shape)
    counts: Floats = np.bincount(matrix.indices, minlength=shape[1]).astype(np.float32)
    return counts


def _popular_lists(popularity: Floats, users: Ints, seen: Matrix | None, k: int) -> TopK:
    blocks = recommender.blocks_of(users, len(popularity))
    return recommender.best((_tiled(popularity, rows, seen) for rows in blocks), k)


def _tiled(popularity: Floats, users: Ints, seen: Matrix | None) -> Floats:
    scores = np.tile(popularity, (len(users), 1))
    return scores if seen is None else mask(scores, recommender.ragged(seen[users]))


def _repeat_lists(seen: Matrix, popularity: Floats, users: Ints, k: int) -> TopK:
    """What each user bought most; equal ones, and the rest, by popularity."""
    below_one = popularity / (popularity.max() + 1)
    blocks = recommender.blocks_of(users, len(popularity))
    return recommender.best((seen[rows].toarray() + below_one[None, :] for rows in blocks), k)


def _ranking(
    top: TopK, test: Pairs, popularity: Floats, shape: tuple[int, int], seed: int
) -> dict[str, float]:
    """The ranking metrics of some lists; relevant is every test pair, known in training or not."""
    n_relevant = np.bincount(test.rows, minlength=len(test.user_ids))
    is_known = test.items >= 0
    rows, items = test.rows[is_known], test.items[is_known]
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=len(test.user_ids))
    relevant = Ragged(np.concatenate(([0], np.cumsum(counts))), items[order])
    by_user = metrics.ranking_by_user(
        metrics.hits(top.items, relevant, n_items=shape[1]), n_relevant
    )
    means = {name: float(np.mean(values)) for name, values in by_user._asdict().items()}
    interval = metrics.bootstrap_interval(by_user.ndcg, seed=seed)
    shown = np.bincount(top.items[top.items >= 0], minlength=shape[1])
    return means | {
        "ndcg_low": interval.low,
        "ndcg_high": interval.high,
        **metrics.list_metrics(shown, popularity, n_users=shape[0])._asdict(),
    }


def _recommendations(top: TopK, train: Dataset, test: Pairs) -> pd.DataFrame:
    rows, places = np.nonzero(top.items >= 0)
    return pd.DataFrame(
        {
            "user_id": test.user_ids[rows],
            "item_id": train.item_ids[top.items[rows, places]],
            "rank": places + 1,
            "score": top.scores[rows, places],
        }
    )


def _without_factors(model: explicit.Model) -> explicit.Model:
    """The biases alone."""
    nothing = type(model.factors)(*(np.zeros_like(side) for side in model.factors))
    return model._replace(factors=nothing)


def _errors(predicted: Floats, ratings: Floats) -> dict[str, float]:
    errors = predicted.astype(np.float64) - ratings
    return {"rmse": metrics.rmse(errors), "mae": metrics.mae(errors)}
