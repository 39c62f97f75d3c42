"""The file of tuned settings: which setting wins, when it does not fit, and when it is damaged."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recgraph import tuned
from recgraph.config import Settings, load_settings
from recgraph.errors import InputError
from recgraph.tuned import Tuned, TunedTrial

CONDITIONS = {"feedback": "implicit", "engine": "spark", "exclude_seen": True}


def found(**given: Any) -> Tuned:
    """What a search found: 32 factors."""
    values: dict[str, Any] = {
        "created_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "measure": "nDCG@10 of new items",
        "value": 0.06,
        "value_before": 0.05,
        "settings": {"n_factors": 32, "walk_half_life_days": None},
        "conditions": CONDITIONS,
        "on": {"users": 3},
        "seconds": 1.0,
        "trials": [TunedTrial(0.06, 1.0, {"n_factors": 32})],
    }
    return Tuned(**values | given)


def test_tuned_goes_before_the_default_and_after_what_is_given(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned.write_tuned(settings.tuned_path, found())
    used = tuned.with_tuned(settings)
    assert (used.settings.n_factors, used.settings.walk_half_life_days) == (32, None)
    assert used.note is not None
    assert "n_factors 32, walk_half_life_days None" in used.note
    monkeypatch.setenv("RECGRAPH_N_FACTORS", "7")
    Path("recgraph.toml").write_text("walk_half_life_days = 3\n")
    by_hand = tuned.with_tuned(load_settings(data_dir=settings.data_dir))
    assert (by_hand.settings.n_factors, by_hand.settings.walk_half_life_days) == (7, 3)
    assert by_hand.note is not None
    assert "all are set by hand" in by_hand.note


def test_without_a_search_nothing_changes(settings: Settings) -> None:
    assert tuned.with_tuned(settings) == (settings, None)


@pytest.mark.parametrize("changed", [{"engine": "local"}, {"exclude_seen": False}])
def test_what_was_tuned_for_something_else_is_not_used(
    changed: dict[str, Any], settings: Settings
) -> None:
    tuned.write_tuned(settings.tuned_path, found(conditions=CONDITIONS | changed))
    used = tuned.with_tuned(settings)
    assert used.settings == settings
    assert used.note is not None
    assert used.note.startswith("not using the settings tuned 2026-01-02 03:04 UTC for ")


def test_a_setting_that_is_gone_is_passed_over(settings: Settings) -> None:
    tuned.write_tuned(settings.tuned_path, found(settings={"n_factors": 32, "rank": 5}))
    assert tuned.with_tuned(settings).settings.n_factors == 32


def test_a_file_is_written_whole_read_again_and_forgotten(settings: Settings) -> None:
    tuned.write_tuned(settings.tuned_path, found())
    assert tuned.read_tuned(settings.tuned_path) == found()
    assert [path.name for path in settings.tuned_path.parent.iterdir()] == ["tuned.json"]
    assert tuned.forget_tuned(settings.tuned_path)
    assert not tuned.forget_tuned(settings.tuned_path)
    assert tuned.read_tuned(settings.tuned_path) is None


def test_a_damaged_file_is_one_line_with_a_way_out(settings: Settings) -> None:
    tuned.write_tuned(settings.tuned_path, found())
    whole = settings.tuned_path.read_bytes()
    settings.tuned_path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cannot be read: .*recgraph tune --forget"):
        tuned.with_tuned(settings)


@pytest.mark.parametrize(
    ("measure", "value", "before", "is_better"),
    [
        ("nDCG@10 of new items", 0.0503, 0.05, True),
        ("nDCG@10 of new items", 0.0501, 0.05, False),
        ("nDCG@10 of new items", 0.05, 0.05, False),
        ("RMSE", 0.98, 1.0, True),
        ("RMSE", 1.02, 1.0, False),
        ("RMSE", float("nan"), float("nan"), False),
    ],
)
def test_only_a_real_gain_is_better(
    measure: str, value: float, before: float, is_better: bool
) -> None:
    kept = msgspec.structs.replace(found(), measure=measure, value=value, value_before=before)
    assert kept.is_better is is_better
