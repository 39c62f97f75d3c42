"""The quality gate: what is refused, what passes, and what decides nothing."""

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from recgraph.config import Settings
from recgraph.gate import Rules, finite, judge, settings_before, task_of
from recgraph.generations import ErrorMetrics, Metrics, RankingMetrics

CUT_AT = datetime(2026, 1, 1, tzinfo=UTC)
NEW_ITEMS = Rules("implicit", "new_items", k=10, margin=0.05, min_measured=30)
EXPLICIT = NEW_ITEMS._replace(feedback="explicit")


def ranked(
    task: Literal["next_basket", "new_items"] = "new_items",
    *,
    n_users: int = 100,
    model: str = "als",
    **ndcg: float,
) -> Metrics:
    """Metrics of these recommenders: name -> nDCG."""
    rows = [
        RankingMetrics(task, name.replace("_", "+"), 10, n_users, value, 0.1, 0.1)
        for name, value in ndcg.items()
    ]
    return Metrics(CUT_AT, 28.0, rows, [], model=model)


def predicted(*, n_pairs: int = 100, **rmse: float) -> Metrics:
    """Metrics of these predictors: name -> RMSE."""
    errors = [ErrorMetrics(name, n_pairs, value, value) for name, value in rmse.items()]
    return Metrics(CUT_AT, 28.0, [], errors)


def test_a_model_that_beats_all_it_is_compared_with_passes() -> None:
    verdict = judge(ranked(als=0.05, popular=0.04, recent=0.045), ranked(als=0.049), NEW_ITEMS)
    assert verdict.passed
    assert verdict.reasons == verdict.notes == []
    assert [(check.against, check.reference) for check in verdict.checks] == [
        ("recent", 0.045),
        ("current", 0.049),
    ]


def test_a_part_that_is_better_alone_is_named() -> None:
    blend = ranked(als=0.0916, walk=0.04, als_walk=0.0625, recent=0.004, model="als+walk")
    verdict = judge(blend, None, NEW_ITEMS)
    assert verdict.passed
    assert verdict.notes == [
        "als alone has a new_items nDCG@10 of 0.0916, als+walk 0.0625: try `recgraph tune`"
    ]
    within = ranked(als=0.0655, walk=0.04, als_walk=0.0625, model="als+walk")
    assert judge(within, None, NEW_ITEMS).notes == []


def test_below_the_popular_list_is_refused_with_both_figures() -> None:
    verdict = judge(ranked(als=0.041, popular=0.050), None, NEW_ITEMS)
    assert not verdict.passed
    assert verdict.reasons == ["new_items nDCG@10 0.041 is below popular 0.05 by more than 5.0%"]
    (check,) = verdict.checks
    assert (check.against, check.value, check.passed) == ("popular", 0.041, False)
    assert check.limit == pytest.approx(0.0475)


@pytest.mark.parametrize(("ndcg", "passed"), [(0.0951, True), (0.0949, False)])
def test_the_margin_is_a_share_of_the_reference(ndcg: float, passed: bool) -> None:
    assert judge(ranked(als=ndcg), ranked(als=0.1), NEW_ITEMS).passed is passed


def test_both_reasons_are_given() -> None:
    verdict = judge(ranked(als=0.01, popular=0.05), ranked(als=0.06), NEW_ITEMS)
    assert len(verdict.reasons) == 2
    assert verdict.reasons[1].startswith(
        "new_items nDCG@10 0.01 is below that of the current settings 0.06"
    )


def test_without_a_margin_equal_passes_and_the_reason_names_none() -> None:
    rules = NEW_ITEMS._replace(margin=0.0)
    assert judge(ranked(als=0.05, popular=0.05), None, rules).passed
    refused = judge(ranked(als=0.04, popular=0.05), None, rules)
    assert refused.reasons == ["new_items nDCG@10 0.04 is below popular 0.05"]


def test_only_the_task_of_the_lists_decides() -> None:
    both = ranked("next_basket", als=0.1, popular=0.4).ranking + ranked(als=0.2).ranking
    metrics = Metrics(CUT_AT, 28.0, both, [])
    assert judge(metrics, None, NEW_ITEMS).passed
    assert not judge(metrics, None, NEW_ITEMS._replace(task="next_basket")).passed
    assert task_of(exclude_seen=True) == "new_items"
    assert task_of(exclude_seen=False) == "next_basket"


def test_the_next_basket_must_keep_up_with_what_each_user_bought_most() -> None:
    metrics = ranked("next_basket", als=0.23, popular=0.17, repeats=0.39, recent=0.3)
    verdict = judge(metrics, None, NEW_ITEMS._replace(task="next_basket"))
    assert not verdict.passed
    assert [check.against for check in verdict.checks] == ["repeats"]
    better = ranked("next_basket", als=0.41, popular=0.17, repeats=0.39, recent=0.5)
    assert judge(better, None, NEW_ITEMS._replace(task="next_basket")).passed


def test_the_recommender_that_is_published_is_the_one_that_is_judged() -> None:
    metrics = ranked(als=0.01, als_walk=0.06, popular=0.05, model="als+walk")
    assert judge(metrics, ranked(als=0.055), NEW_ITEMS).passed
    assert not judge(msgspec.structs.replace(metrics, model="als"), None, NEW_ITEMS).passed


def test_rmse_does_not_decide_for_implicit_feedback() -> None:
    metrics = msgspec.structs.replace(
        ranked(als=0.05, popular=0.04), errors=predicted(als=0.9, constant=0.5).errors
    )
    assert judge(metrics, None, NEW_ITEMS).passed


def test_a_model_worse_than_a_constant_is_refused() -> None:
    verdict = judge(predicted(als=3.36, constant=1.28), None, EXPLICIT)
    assert verdict.reasons == ["RMSE 3.36 is above constant 1.28"]
    assert judge(predicted(als=1.27, constant=1.28), None, EXPLICIT).passed
    assert not judge(predicted(als=1.29, constant=1.28), None, EXPLICIT).passed  # no margin here


def test_rmse_may_be_worse_than_the_current_settings_by_the_margin() -> None:
    current = predicted(als=1.0, constant=1.28)
    assert judge(predicted(als=1.04, constant=1.28), current, EXPLICIT).passed
    (reason,) = judge(predicted(als=1.06, constant=1.28), current, EXPLICIT).reasons
    assert reason == "RMSE 1.06 is above that of the current settings 1 by more than 5.0%"


def test_lists_do_not_decide_for_explicit_feedback() -> None:
    metrics = msgspec.structs.replace(
        predicted(als=1.0, constant=1.3), ranking=ranked(als=0.001, popular=0.05).ranking
    )
    assert judge(metrics, None, EXPLICIT).passed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_refused(value: float) -> None:
    for metrics, rules in (
        (ranked(als=value, popular=0.05), NEW_ITEMS),
        (predicted(als=value, constant=1.28), EXPLICIT),
        (msgspec.structs.replace(predicted(als=value), ranking=ranked(als=1.0).ranking), NEW_ITEMS),
    ):
        verdict = judge(metrics, ranked(als=0.01), rules)
        assert not verdict.passed
        assert [reason.split(" is ")[1] for reason in verdict.reasons] == ["no finite number"]
        assert msgspec.json.decode(msgspec.json.encode(verdict), type=type(verdict)) == verdict


def test_a_reference_that_is_no_number_is_none() -> None:
    nan = math.nan
    assert judge(ranked(als=0.01, popular=nan, recent=0.01), ranked(als=nan), NEW_ITEMS).passed
    assert judge(predicted(als=1.0, constant=nan), predicted(als=nan), EXPLICIT).passed


def test_finite_leaves_out_what_json_cannot_hold() -> None:
    metrics = msgspec.structs.replace(
        ranked(als=math.nan, popular=0.05), errors=predicted(als=math.inf, constant=1.0).errors
    )
    kept = finite(metrics)
    assert [row.recommender for row in kept.ranking] == ["popular"]
    assert [row.predictor for row in kept.errors] == ["constant"]
    assert msgspec.json.decode(msgspec.json.encode(kept), type=Metrics) == kept


@pytest.mark.parametrize("rules", [NEW_ITEMS, EXPLICIT])
def test_nothing_measured_passes_with_a_note(rules: Rules) -> None:
    verdict = judge(Metrics(None, 0.0, [], [], "too short a history"), None, rules)
    assert verdict.passed
    assert verdict.notes == ["not measured: too short a history"]
    assert verdict.checks == []


def test_nothing_of_the_task_that_decides_passes_with_a_note() -> None:
    verdict = judge(ranked("next_basket", als=0.1, popular=0.2), None, NEW_ITEMS)
    assert verdict.passed
    assert verdict.notes[0].startswith("not measured: ")


def test_too_few_to_be_measured_on_decide_nothing() -> None:
    for metrics, rules in (
        (ranked(als=0.0, popular=0.5, n_users=29), NEW_ITEMS),
        (predicted(als=9.0, constant=1.0, n_pairs=29), EXPLICIT),
    ):
        verdict = judge(metrics, None, rules)
        assert verdict.passed
        assert verdict.notes == ["not judged: measured on 29, 30 are needed"]
        assert not judge(metrics, None, rules._replace(min_measured=29)).passed


# --- the settings of the current generation -----------------------------------------------------


def manifest_settings(settings: Settings, **changes: object) -> dict[str, Any]:
    """What a manifest on disk says, through JSON as it goes there."""
    names = ("n_factors", "alpha", "kind_weights", "half_life_days", "k", "test_days")
    made_with = {name: getattr(settings, name) for name in names} | changes
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made_with))
    return decoded


def test_equal_settings_need_no_second_fit(settings: Settings) -> None:
    assert settings_before(manifest_settings(settings), settings) is settings


def test_other_settings_of_the_model_come_back_and_nothing_else(settings: Settings) -> None:
    made_with = manifest_settings(
        settings, n_factors=7, kind_weights={"purchase": 2.0}, k=3, test_days=1.0, gone=5
    )
    earlier = settings_before(made_with, settings)
    assert (earlier.n_factors, earlier.kind_weights) == (7, {"purchase": 2.0})
    assert (earlier.k, earlier.test_days) == (settings.k, settings.test_days)
    assert earlier == settings.model_copy(
        update={"n_factors": 7, "kind_weights": {"purchase": 2.0}}
    )


def test_a_setting_that_is_younger_than_the_generation_is_no_difference(
    settings: Settings, tmp_path: Path
) -> None:
    present = settings.model_copy(update={"alpha": 40.0})
    made_with = manifest_settings(settings)
    del made_with["alpha"]
    assert settings_before(made_with, present) is present
