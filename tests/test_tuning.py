"""The search of settings: what is held out, what a budget means, what the bench measures."""

import time

import msgspec
import numpy as np
import pytest

from recgraph import blend, metrics, recommender, tuning
from recgraph.bench import Bench
from recgraph.dataset import Rows, rating_matrix
from recgraph.model import Ragged, mask, top_k
from recgraph.recommender import Choice
from recgraph.validation import Validation, hold_out, is_held_out

SMALL = Choice(n_factors=8, n_iterations=3, walk_weight=0.5)
DAY = 86_400


def rows(n: int = 1_500, seed: int = 0) -> Rows:
    """Sixty users of two tastes and forty items, a purchase an hour."""
    rng = np.random.default_rng(seed)
    users = rng.integers(0, 60, n).astype(np.int32)
    items = ((rng.integers(0, 20, n) * 2 + users % 2) % 40).astype(np.int32)
    return Rows(users, items, np.ones(n, np.float32), 3600 * np.arange(n))


def held_out(*, exclude_seen: bool = True, by_time: bool = False) -> Validation:
    return hold_out(rows(), (60, 40), exclude_seen=exclude_seen, by_time=by_time, seed=1)


@pytest.mark.parametrize("by_time", [True, False])
def test_what_is_held_out_is_never_trained_on(by_time: bool) -> None:
    found = held_out(by_time=by_time)
    known = rating_matrix(found.train, (60, 40))[found.users].toarray() > 0
    assert len(found.relevant.items) > 0
    assert not known[found.relevant.rows(), found.relevant.items].any()


def test_by_time_holds_out_the_newest() -> None:
    mask = is_held_out(rows(), by_time=True, seed=1)
    assert mask[-1]
    assert not mask[0]
    assert np.diff(mask.astype(int)).sum() == 1


def test_repeats_are_relevant_where_lists_may_hold_them() -> None:
    found = held_out(exclude_seen=False, by_time=True)
    known = rating_matrix(found.train, (60, 40))[found.users].toarray() > 0
    assert found.seen is None
    assert known[found.relevant.rows(), found.relevant.items].any()


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_bench_measures_what_the_recommender_would_list(exclude_seen: bool) -> None:
    found = held_out(exclude_seen=exclude_seen)
    choice = msgspec.structs.replace(
        SMALL, walk_exponent=0.3, repeat_weight=0.0 if exclude_seen else 2.0, n_neighbours=8
    )
    signals = recommender.fit(found.train, found.shape, choice)
    users = signals.users(found.users)
    sized = blend.coefficients_from_weights(recommender.weights_of(choice), users, signals.items)
    scores = blend.score(users, signals.items, sized).whole()
    if found.seen is not None:
        mask(scores, Ragged.of(found.seen))
    hit = metrics.hits(top_k(scores, 5).items, found.relevant, n_items=40)
    listed = metrics.ndcg(hit, np.diff(found.relevant.offsets)).mean()
    bench = Bench(found, 5)
    for _ in range(2):  # what is kept of the first time is measured alike
        assert bench.measure(choice).mean() == pytest.approx(listed, rel=1e-6)


def test_taste_is_found_from_settings_that_miss_it() -> None:
    blind = msgspec.structs.replace(SMALL, regularization=1_000.0, walk_weight=0.0)
    found = tuning.tune(held_out(), blind, k=5, minutes=1, max_trials=8)
    assert found.value > 1.05 * found.start_value
    assert found.value == max(trial.value for trial in found.trials)
    assert Bench(held_out(), 5).measure(found.best).mean() == pytest.approx(found.value)


def test_what_is_better_by_chance_is_not_taken() -> None:
    rng = np.random.default_rng(3)
    users, items = (rng.integers(0, n, 1_500).astype(np.int32) for n in (60, 200))
    anything = Rows(users, items, np.ones(1_500, np.float32), None)
    nothing = hold_out(anything, (60, 200), exclude_seen=True, by_time=False, seed=1)
    found = tuning.tune(nothing, SMALL, k=5, minutes=1, max_trials=8)
    assert max(trial.value for trial in found.trials) > found.start_value
    assert (found.best, found.value) == (SMALL, found.start_value)


def test_repeats_are_weighed_only_where_lists_may_hold_them() -> None:
    found = tuning.tune(held_out(), SMALL, k=5, minutes=1, max_trials=2)
    assert {trial.choice.repeat_weight for trial in found.trials} == {0.0}
    again = held_out(exclude_seen=False, by_time=True)
    found = tuning.tune(again, SMALL, k=5, minutes=1, max_trials=2)
    assert found.value >= found.start_value


def test_a_search_that_has_no_time_still_tries_the_start() -> None:
    began = time.monotonic()
    found = tuning.tune(held_out(), SMALL, k=5, minutes=1e-6)
    assert len(found.trials) == 1
    assert found.trials[0].choice.n_factors == SMALL.n_factors
    assert time.monotonic() - began < 30


def test_nothing_to_foretell_keeps_the_start() -> None:
    alone = rows().where(np.arange(1_500) < 1)
    nothing = hold_out(alone, (60, 40), exclude_seen=True, by_time=False, seed=1)
    found = tuning.tune(nothing, SMALL, k=5, minutes=1)
    assert found.best == SMALL
    assert found.trials == []
    assert np.isnan(found.value)


def test_penalties_are_proposed_in_proportion_to_their_exponent() -> None:
    found = tuning.tune(
        held_out(), msgspec.structs.replace(SMALL, exponent=1.0, regularization=0.1),
        k=5, minutes=1, max_trials=6, exponents=(1.0,),
    )  # fmt: skip
    assert found.trials[0].choice.regularization == pytest.approx(0.1)
    assert all(3e-4 <= trial.choice.regularization <= 1 for trial in found.trials)
