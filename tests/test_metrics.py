"""Metrics against tables computed by hand, against trec_eval and SciPy, and their bounds.

Each table is written out beside its test. trec_eval (through pytrec_eval) is the reference of the
ranking metrics, SciPy that of the bootstrap; `score.py`, where it stands beside the repository, is
a scorer by another hand that reads the files that recgraph writes.
"""

import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytrec_eval
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recgraph import metrics
from recgraph.metrics import Hits
from recgraph.model import Ints, Ragged

# Two users, lists of 3; the first has items 5 and 9 in the test period, the second 1, 2, 3 and 4.
LISTS = np.array([[9, 7, 5], [8, 1, -1]])
RELEVANT = Ragged(np.array([0, 2, 6]), np.array([5, 9, 1, 2, 3, 4]))
HITS = np.array([[True, False, True], [False, True, False]])
N_RELEVANT = np.array([2, 4])

BY_HAND = {
    # user 1: hits at ranks 1 and 3 of 2 relevant; user 2: a hit at rank 2 of 4 relevant
    "ndcg": [
        (1 / 1 + 1 / 2) / (1 / 1 + 0.6309298),  # 1 / log2(2, 4) over 1 / log2(2, 3)
        0.6309298 / (1 / 1 + 0.6309298 + 1 / 2),  # 1 / log2(3) over 1 / log2(2, 3, 4)
    ],
    "recall": [2 / 2, 1 / 4],
    "precision": [2 / 3, 1 / 3],  # over k = 3, though the second list has two items only
    "map": [(1 / 1 + 2 / 3) / 2, (1 / 2) / 3],  # over min(2, 3) and min(4, 3)
    "mrr": [1 / 1, 1 / 2],
    "hit_rate": [1.0, 1.0],
}
TREC_EVAL = {
    "ndcg": "ndcg_cut_10",
    "recall": "recall_10",
    "precision": "P_10",
    "map": "map_cut_10",  # over all relevant items
    "mrr": "recip_rank",
    "hit_rate": "success_10",
}


class Case:
    """Random lists of 10 of 40 items, some of them shorter, for 30 users with 1 to 20 relevant."""

    n_items = 40

    def __init__(self) -> None:
        rng = np.random.default_rng(8)
        self.lists = rng.permuted(np.tile(np.arange(self.n_items), (30, 1)), axis=1)[:, :10]
        for row, n in enumerate(rng.integers(0, 11, 30)):
            self.lists[row, n:] = -1
        self.relevant = [
            np.sort(rng.choice(self.n_items, n, replace=False)) for n in rng.integers(1, 21, 30)
        ]
        self.n_relevant = np.array([len(items) for items in self.relevant])

    def by_user(self) -> metrics.ByUser:
        offsets = np.concatenate(([0], np.cumsum(self.n_relevant)))
        relevant = Ragged(offsets, np.concatenate(self.relevant))
        hit = metrics.hits(self.lists, relevant, n_items=self.n_items)
        return metrics.ranking_by_user(hit, self.n_relevant)


def test_hits_marks_relevant_places_only() -> None:
    assert metrics.hits(LISTS, RELEVANT, n_items=10).tolist() == HITS.tolist()


def test_hits_of_one_user_are_not_those_of_another() -> None:
    relevant = Ragged(np.array([0, 0, 1]), np.array([9]))
    assert not metrics.hits(LISTS, relevant, n_items=10).any()


@pytest.mark.parametrize("name", metrics.ByUser._fields)
def test_ranking_metric_equals_the_hand_computed_table(name: str) -> None:
    found = metrics.ranking_by_user(HITS, N_RELEVANT)._asdict()[name]
    assert found.tolist() == pytest.approx(BY_HAND[name], abs=1e-6)


def test_ranking_metrics_of_a_list_without_a_hit_are_zero() -> None:
    found = metrics.ranking_by_user(np.zeros((1, 3), np.bool_), np.array([2]))
    assert [values.tolist() for values in found] == [[0.0]] * len(found)


@pytest.mark.parametrize("name", metrics.ByUser._fields)
def test_ranking_metric_agrees_with_trec_eval(name: str) -> None:
    case = Case()
    found = case.by_user()._asdict()[name]
    if name == "map":
        found = found * np.minimum(case.n_relevant, 10) / case.n_relevant
    expected = _trec_eval(case)
    assert found.tolist() == pytest.approx([row[TREC_EVAL[name]] for row in expected], abs=1e-9)
    assert 0 < found.mean() < 1


def _trec_eval(case: Case) -> list[dict[str, float]]:
    """What trec_eval says of each user; one with an empty list has zeros."""
    qrels = {str(user): {str(i): 1 for i in items} for user, items in enumerate(case.relevant)}
    run = {
        str(user): {str(item): -float(rank) for rank, item in enumerate(items) if item >= 0}
        for user, items in enumerate(case.lists)
    }
    measures = {"ndcg_cut.10", "recall.10", "P.10", "map_cut.10", "recip_rank", "success.10"}
    found = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    nothing = dict.fromkeys(TREC_EVAL.values(), 0.0)
    return [found.get(str(user), nothing) for user in range(len(case.lists))]


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 12))), st.data())
def test_ranking_metrics_are_shares(hit: Hits, data: st.DataObject) -> None:
    n_relevant = hit.sum(axis=1) + data.draw(st.integers(1, 20))
    for name, found in metrics.ranking_by_user(hit, n_relevant)._asdict().items():
        assert ((found >= 0) & (found <= 1 + 1e-12)).all(), name
        assert ((found > 0) == hit.any(axis=1)).all(), name


@given(st.integers(1, 12), st.integers(1, 30))
def test_ideal_list_has_one_in_all_but_recall_and_precision(k: int, n_relevant: int) -> None:
    hit = np.arange(k)[None] < n_relevant
    found = metrics.ranking_by_user(hit, np.array([n_relevant]))
    for values in (found.ndcg, found.map, found.mrr, found.hit_rate):
        assert values[0] == pytest.approx(1.0)
    assert max(found.recall[0], found.precision[0]) == pytest.approx(1.0)


@given(arrays.arrays(np.bool_, st.tuples(st.just(1), st.integers(2, 12))), st.data())
def test_an_earlier_hit_is_never_worse(hit: Hits, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, hit.shape[1] - 1))
    better = hit.copy()
    better[0, [place - 1, place]] = np.sort(hit[0, [place - 1, place]])[::-1]
    n_relevant = np.array([hit.shape[1]])
    pairs = zip(
        metrics.ranking_by_user(better, n_relevant),
        metrics.ranking_by_user(hit, n_relevant),
        strict=True,
    )
    assert all(now[0] >= before[0] - 1e-12 for now, before in pairs)


def test_errors_equal_the_hand_computed_table() -> None:
    errors = np.array([1.0, -1.0, 2.0, 0.0])
    assert metrics.rmse(errors) == pytest.approx(1.5**0.5)
    assert metrics.mae(errors) == 1.0


def test_coverage_is_the_share_of_items_in_a_list() -> None:
    assert metrics.coverage(np.array([3, 0, 1, 0])) == 0.5


def test_novelty_equals_the_hand_computed_table() -> None:
    # 8 users; items that 8, 2 and 0 of them have say 0, 2 and (as if one had it) 3 bits
    counts, popularity = np.array([5, 2, 1]), np.array([8, 2, 0], np.float32)
    assert metrics.novelty(counts, popularity, n_users=8) == (5 * 0 + 2 * 2 + 1 * 3) / 8
    assert metrics.novelty(0 * counts, popularity, n_users=8) == 0.0


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([1, 1, 1, 1], 0.0), ([0, 0, 0, 4], 0.75), ([1, 3], 0.25), ([0, 0], 0.0)],
)
def test_gini_equals_the_hand_computed_table(counts: list[int], expected: float) -> None:
    assert metrics.gini(np.array(counts)) == pytest.approx(expected)


@given(arrays.arrays(np.int64, st.integers(1, 20), elements=st.integers(0, 50)))
def test_gini_is_half_the_relative_mean_difference(counts: Ints) -> None:
    differences = np.abs(counts[:, None] - counts[None]).mean()
    expected = differences / (2 * counts.mean()) if counts.any() else 0.0
    assert metrics.gini(counts) == pytest.approx(expected)


def test_top_share_is_that_of_the_largest_hundredth() -> None:
    counts = np.ones(200, np.int64)
    counts[:2] = 101
    assert metrics.top_share(counts) == pytest.approx(202 / 400)
    assert metrics.top_share(np.zeros(5, np.int64)) == 0.0


def test_bootstrap_interval_agrees_with_scipy() -> None:
    ndcg = Case().by_user().ndcg
    ours = metrics.bootstrap_interval(ndcg, n_samples=20_000, seed=3)
    theirs = scipy.stats.bootstrap(
        (ndcg,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(4)
    ).confidence_interval
    assert tuple(ours) == pytest.approx(tuple(theirs), abs=0.003)
    assert ours.low < ndcg.mean() < ours.high


def test_bootstrap_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    samples = rng.random((200, 100)) < 0.3
    found = [
        metrics.bootstrap_interval(sample.astype(np.float64), level=0.9, n_samples=300, seed=6)
        for sample in samples
    ]
    held = np.mean([low <= 0.3 <= high for low, high in found])
    assert 0.82 <= held <= 0.96


@given(arrays.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)), st.integers(0, 99))
def test_bootstrap_interval_depends_on_the_seed_and_no_order(
    values: metrics.Floats64, seed: int
) -> None:
    found = metrics.bootstrap_interval(values, n_samples=50, seed=seed)
    assert metrics.bootstrap_interval(values[::-1], n_samples=50, seed=seed) == found
    assert values.min() - 1e-9 <= found.low <= found.high <= values.max() + 1e-9


def test_bootstrap_interval_of_many_users_is_bounded_in_memory() -> None:
    values = np.random.default_rng(1).random(100_000)
    tracemalloc.start()
    metrics.bootstrap_interval(values, n_samples=200, seed=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * 2**20  # all 200 samples at once would be 160 MB


def test_rmse_interval_over_pairs_agrees_with_scipy() -> None:
    errors = np.random.default_rng(2).normal(size=300)
    ours = metrics.rmse_interval(errors, n_samples=10_000, seed=3)
    theirs = scipy.stats.bootstrap(
        (errors,), _rmse_of_rows, n_resamples=10_000, method="percentile", vectorized=True,
        rng=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    assert tuple(ours) == pytest.approx(tuple(theirs), abs=0.005)


def _rmse_of_rows(errors: Any, axis: int) -> Any:
    return np.sqrt(np.mean(np.square(errors), axis=axis))


def test_rmse_interval_over_users_is_wider_where_their_errors_go_together() -> None:
    users = np.repeat(np.arange(30), 20)
    errors = np.random.default_rng(2).normal(size=30)[users]
    over_pairs = metrics.rmse_interval(errors, seed=1)
    over_users = metrics.rmse_interval(errors, users=users, seed=1)
    assert over_users.low < over_pairs.low < metrics.rmse(errors) < over_pairs.high
    assert over_pairs.high < over_users.high


def test_ranking_metrics_agree_with_the_scorer(scorer: Any) -> None:
    case = Case()
    users, ranks = np.nonzero(case.lists >= 0)
    recommended = _frame(users, case.lists[users, ranks]).assign(rank=ranks + 1)
    test = _frame(np.repeat(np.arange(30), case.n_relevant), np.concatenate(case.relevant))
    train = _frame(np.arange(case.n_items), np.arange(case.n_items))
    expected = scorer.score_ranking(recommended, test, train, ks=[10])
    found = case.by_user()._asdict()
    for name in ("ndcg", "recall", "precision", "map"):  # the scorer has no MRR
        assert found[name].mean() == pytest.approx(expected[f"{name}@10"]), name
    assert found["hit_rate"].mean() == pytest.approx(expected["hit@10"])
    counts = np.bincount(case.lists[case.lists >= 0], minlength=case.n_items)
    assert metrics.coverage(counts) == expected["coverage@10"]


def test_a_given_test_counts_what_training_does_not_know(scorer: Any) -> None:
    case = Case()
    case.lists[:2] = -1  # two users whom training does not know
    recommended = _frame(*np.nonzero(case.lists >= 0))
    recommended = recommended.assign(
        item_id=case.lists[case.lists >= 0].astype(str), rank=np.nonzero(case.lists >= 0)[1]
    )
    unknown = np.arange(30) % 3  # so many test items of each user are unknown
    test = pd.concat(
        [
            _frame(np.repeat(np.arange(30), case.n_relevant), np.concatenate(case.relevant)),
            _frame(np.repeat(np.arange(30), unknown), 1000 + np.arange(unknown.sum())),
        ]
    )
    expected = scorer.score_ranking(recommended, test, ks=[10])
    hit = np.array([np.isin(*row) for row in zip(case.lists, case.relevant, strict=True)])
    found = metrics.ranking_by_user(hit, case.n_relevant + unknown)
    assert expected["users_without_recommendations"] >= 2
    for name in ("ndcg", "recall", "map"):
        assert found._asdict()[name].mean() == pytest.approx(expected[f"{name}@10"]), name


def test_errors_agree_with_the_scorer(scorer: Any) -> None:
    rng = np.random.default_rng(3)
    test = _frame(np.arange(20), np.arange(20)).assign(rating=rng.integers(1, 6, 20))
    predicted = test.assign(prediction=rng.normal(3, 1, 20))
    errors = (predicted["prediction"] - predicted["rating"]).to_numpy()
    expected = scorer.score_ratings(predicted, test)
    assert metrics.rmse(errors) == pytest.approx(expected["rmse"])
    assert metrics.mae(errors) == pytest.approx(expected["mae"])


def _frame(users: Ints, items: Ints) -> pd.DataFrame:
    return pd.DataFrame({"user_id": users.astype(str), "item_id": items.astype(str)})
