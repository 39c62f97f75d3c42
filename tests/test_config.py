"""Settings: where they come from, and one clear line for each that cannot be used."""

from pathlib import Path

import pytest

from recgraph.config import PREFIX, Settings, load_settings
from recgraph.errors import ConfigError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_setting_has_its_sentence_and_a_default() -> None:
    settings = load_settings()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.strip().endswith("."), name
        getattr(settings, name)


def test_argument_wins_over_environment_over_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recgraph.toml").write_text("k = 7\nseed = 7\nalpha = 7.0\n")
    monkeypatch.setenv("RECGRAPH_K", "8")
    monkeypatch.setenv("RECGRAPH_SEED", "8")
    settings = load_settings(k=9)
    assert (settings.k, settings.seed, settings.alpha) == (9, 8, 7.0)


def test_argument_that_is_none_leaves_the_setting() -> None:
    assert load_settings(k=None).k == Settings.model_fields["k"].default


def test_folders_become_absolute_and_hold_each_other(tmp_path: Path) -> None:
    settings = load_settings(data_dir="here")
    assert settings.data_dir == tmp_path / "here"
    for name in ("generations_dir", "events_dir", "rejected_dir", "catalogue_path", "services_dir"):
        assert getattr(settings, name).parent == settings.data_dir


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load_settings(data_dir="~/data").data_dir == tmp_path / "home" / "data"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("k", "0", "greater than or equal to 1"),
        ("k", "ten", "valid integer"),
        ("feedback", "both", "'implicit' or 'explicit'"),
        ("driver_memory", "2 gigabytes", "pattern"),
        ("topic", "a topic", "pattern"),
        ("mongo_database", "a.b", "pattern"),
        ("mongo_database", "$x", "pattern"),
        ("port", "70000", "less than or equal to 65535"),
        ("regularization", "-1", "greater than 0"),
    ],
)
def test_value_out_of_range_names_setting_and_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(PREFIX + name.upper(), value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert caught.value.setting == PREFIX + name.upper()
    assert reason in str(caught.value)
    assert repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_blend_of_nothing_is_refused() -> None:
    assert load_settings(walk_weight=0).als_weight > 0
    assert load_settings(als_weight=0).walk_weight > 0
    with pytest.raises(ConfigError, match="both 0: nothing is left to score by"):
        load_settings(als_weight=0, walk_weight=0)


def test_unknown_variable_is_refused_with_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECGRAPH_N_FACTOR", "32")
    with pytest.raises(ConfigError, match="did you mean RECGRAPH_N_FACTORS"):
        load_settings()


def test_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recgraph.toml").write_text("n_factor = 32\n")
    with pytest.raises(ConfigError, match="RECGRAPH_N_FACTOR"):
        load_settings()


def test_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recgraph.toml").write_text("k == 3")
    with pytest.raises(ConfigError, match=r"recgraph\.toml"):
        load_settings()


def test_password_of_the_uri_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECGRAPH_MONGO_URI", "mongodb://ann:S3cret@db.example.org")
    settings = load_settings()
    assert settings.mongo_uri is not None
    assert "S3cret" in settings.mongo_uri.get_secret_value()
    assert "S3cret" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_settings_cannot_be_changed() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.k = 3  # type: ignore[misc]


def test_reviews_are_explicit_feedback_unless_a_setting_says_otherwise() -> None:
    assert load_settings().feedback == "implicit"
    assert load_settings(train_on="reviews").feedback == "explicit"
    assert load_settings(train_on="reviews", feedback="implicit").feedback == "implicit"
