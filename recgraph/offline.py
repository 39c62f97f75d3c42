"""A given split -> metrics, lists and predictions, in this process: what `recgraph evaluate` does.

Everything that is chosen is chosen on the training file; the test file is read for its users and
pairs, and its answers are looked at once, at the end. The definitions are those of docs/metrics.md:
a figure is a mean over all test users, a user or item unknown in training counts as a miss.
"""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from recgraph import blend, dataset, explicit, intervals, metrics, recommender
from recgraph.blend import Coefficients
from recgraph.dataset import Dataset, Pairs
from recgraph.evaluation import repeats_first
from recgraph.folds import Fold
from recgraph.model import Floats, Ints, Matrix, Ragged, TopK
from recgraph.recommender import Choice
from recgraph.scores import joined, same_for_all

BIASED = "biases+als"
_PARTS = (blend.ALS, blend.WALK)
_N_NEIGHBOURS = 100
"""Neighbours of each item that item-kNN keeps."""
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
    data: Dataset, folds: list[Fold], choice: Choice, *, k: int, exclude_seen: bool
) -> Outcome:
    """Every recommender's lists against the test, and the blend's lists.

    Parameters
    ----------
    data
        Gives the ids: of everything that any fold may learn from.
    folds
        Of different users each; every one has a model of its own.
    """
    found = [_all_lists(data, fold, choice, k=k, exclude_seen=exclude_seen) for fold in folds]
    test = _joined([fold.test for fold in folds])
    popularity = np.mean([_popularity(fold.train, data.shape) for fold in folds], axis=0)
    ranking, top = {}, None
    for same in zip(*found, strict=True):
        top = TopK(*map(np.concatenate, zip(*(lists.top for lists in same), strict=True)))
        name = same[0].recommender
        ranking[name] = _ranking(top, test, popularity, data.shape, choice.seed)
    assert top is not None  # there are four recommenders at least
    return Outcome(ranking, {}, _recommendations(top, data, test), None)


def evaluate_explicit(
    data: Dataset, fold: Fold, choice: explicit.Choice, lists: Choice, *, k: int
) -> Outcome:
    """Errors on the ratings of the test, and lists.

    The lists are the blend's, from who rated what: ordered by predicted rating they would be full
    of items that hardly anybody rated.
    """
    test = fold.test
    assert test.ratings is not None  # `read_test` asked for them
    ratings = dataset.last_ratings(fold.train, data.shape)
    model = explicit.fit(ratings, choice)
    users = test.users[test.rows]
    predicted = {
        "mean": np.full(len(users), ratings.data.mean(), np.float32),
        "biases": explicit.predict(explicit.without_taste(model), users, test.items),
        BIASED: explicit.predict(model, users, test.items),
    }
    outcome = evaluate_implicit(data, [fold], lists, k=k, exclude_seen=True)
    errors = {name: _errors(values, test.ratings, test.rows) for name, values in predicted.items()}
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


def _joined(tests: list[Pairs]) -> Pairs:
    """The tests of all folds as one, in their order."""
    starts = np.cumsum([0, *(len(test.user_ids) for test in tests)])
    rows = [test.rows + start for test, start in zip(tests, starts, strict=False)]
    return Pairs(
        user_ids=np.concatenate([test.user_ids for test in tests]),
        rows=np.concatenate(rows),
        users=np.concatenate([test.users for test in tests]),
        items=np.concatenate([test.items for test in tests]),
        item_ids=np.concatenate([test.item_ids for test in tests]),
        ratings=None,
        n_left_out=sum(test.n_left_out for test in tests),
    )


def _all_lists(
    data: Dataset, fold: Fold, choice: Choice, *, k: int, exclude_seen: bool
) -> list[Lists]:
    """The lists of the baselines, of each signal and, last, of the blend."""
    train = fold.train.counted()
    history = None if fold.history is None else fold.history.counted()
    seen = dataset.rating_matrix(train if history is None else history, data.shape)
    users = fold.test.users[fold.test.users >= 0]
    left_out = seen if exclude_seen else None
    popular = _popularity(train, data.shape)
    found = {"popular": _popular_lists(popular, users, left_out, k)}
    if train.times is not None:
        recent = train.where(dataset.ages_in_days(train.times) < _RECENT_DAYS)
        found["recent"] = _popular_lists(_popularity(recent, data.shape), users, left_out, k)
    if not exclude_seen:
        found["repeats"] = repeats_first(seen[users], popular).top_k(k)
    learned = dataset.rating_matrix(train, data.shape)
    found["item-knn"] = _neighbour_lists(learned, seen, users, left_out, k)
    signals = recommender.fit(train, data.shape, choice)
    sizes = {
        name: recommender.coefficients(signals, weights, seed=choice.seed)
        for name, weights in _weights(choice).items()
    }
    if history is not None:
        signals = recommender.fold_in(signals, train, history, data.shape, choice)
    for name, blended in sizes.items():
        found[name] = recommender.recommend(signals, blended, users, k=k, seen=left_out)
    fallback = same_for_all(popular, 1).top_k(k)
    return [Lists(name, _spread(top, fold.test, fallback)) for name, top in found.items()]


def _spread(top: TopK, test: Pairs, fallback: TopK) -> TopK:
    """The lists of the known users, and the popular list for the others."""
    known = np.flatnonzero(test.users >= 0)
    items = np.repeat(fallback.items, len(test.users), axis=0)
    scores = np.repeat(fallback.scores, len(test.users), axis=0)
    items[known], scores[known] = top
    return TopK(items, scores)


def _weights(choice: Choice) -> dict[str, Coefficients]:
    """Each part of the blend alone, and the blend."""
    weights = recommender.weights_of(choice)
    alone = {name: blend.only(Coefficients(1.0, 1.0, 1.0, 1.0), [name]) for name in _PARTS}
    name = blend.source_of(weights)
    alone.pop(name, None)  # the blend comes last, also where it is one part
    return {**alone, name: weights}


def _popularity(rows: dataset.Rows, shape: tuple[int, int]) -> Floats:
    """Users who have each item, float32 ``(n_items,)``."""
    matrix = dataset.rating_matrix(rows, shape)
    counts: Floats = np.bincount(matrix.indices, minlength=shape[1]).astype(np.float32)
    return counts


def _popular_lists(popularity: Floats, users: Ints, seen: Matrix | None, k: int) -> TopK:
    left_out = None if seen is None else seen[users]
    return same_for_all(popularity, len(users))._replace(left_out=left_out).top_k(k)


def _neighbour_lists(
    train: Matrix, history: Matrix, users: Ints, seen: Matrix | None, k: int
) -> TopK:
    """Item-kNN by cosine, of the implicit library: what resembles what the user has.

    References
    ----------
    Sarwar et al. (2001), Item-based collaborative filtering recommendation algorithms.
    """
    from implicit.nearest_neighbours import CosineRecommender
    from implicit.utils import ParameterWarning

    model = CosineRecommender(K=_N_NEIGHBOURS)
    with warnings.catch_warnings():
        # It makes another kind of matrix itself, and then warns of that.
        warnings.simplefilter("ignore", ParameterWarning)
        model.fit(train, show_progress=False)
    near = model.similarity.astype(np.float32)
    nothing = np.zeros(train.shape[1], np.float32)
    found = []
    for rows in recommender.blocks_of(users, train.shape[1]):
        left_out = None if seen is None else seen[rows]
        scores = same_for_all(nothing, len(rows))._replace(added=history[rows] @ near)
        found.append(scores._replace(left_out=left_out).top_k(k))
    return joined(found, k)


def _ranking(
    top: TopK, test: Pairs, popularity: Floats, shape: tuple[int, int], seed: int
) -> dict[str, float]:
    """The ranking metrics of some lists; relevant is every test pair, known in training or not."""
    n_users = len(test.user_ids)
    n_relevant = np.bincount(test.rows, minlength=n_users)
    is_known = test.items >= 0
    relevant = Ragged.from_rows(test.rows[is_known], test.items[is_known], n_users)
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


def _errors(predicted: Floats, ratings: Floats, users: Ints) -> dict[str, float]:
    """RMSE and MAE with the ends of their 95 % intervals over users, where there are several."""
    errors = predicted.astype(np.float64) - ratings
    found = {"rmse": metrics.rmse(errors), "mae": metrics.mae(errors)}
    squared = intervals.interval_of_users(intervals.user_sums(users, np.square(errors)))
    absolute = intervals.interval_of_users(intervals.user_sums(users, np.abs(errors)))
    if squared is not None and absolute is not None:
        found["rmse_low"], found["rmse_high"] = intervals.root(squared)
        found["mae_low"], found["mae_high"] = absolute
    return found
