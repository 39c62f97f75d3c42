"""`recgraph evaluate` end to end on small files: figures, files, choices, bad input."""

import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from recgraph import biases, dataset, defaults, explicit, recommender, tuning
from recgraph.cli import app
from recgraph.errors import InputError
from recgraph.validation import hold_out


def purchases(n_users: int = 60, n_items: int = 40, seed: int = 0) -> pd.DataFrame:
    """Users of two tastes, a purchase an hour."""
    rng = np.random.default_rng(seed)
    users = rng.integers(0, n_users, 1_500)
    items = (rng.integers(0, n_items // 2, 1_500) * 2 + users % 2) % n_items
    hours = np.arange(1_500)
    return pd.DataFrame(
        {"user_id": [f"u{u}" for u in users], "item_id": items, "timestamp": 1.7e9 + 3600 * hours}
    ).drop_duplicates(["user_id", "item_id"])


@pytest.fixture
def split(tmp_path: Path) -> tuple[Path, Path]:
    table = purchases()
    held = np.random.default_rng(1).random(len(table)) < 0.2
    train, test = table[~held], table[held]
    test = pd.concat([test, pd.DataFrame({"user_id": ["nobody", "u1"], "item_id": [1, 99_999]})])
    train.to_csv(tmp_path / "train.csv", index=False)
    test.drop(columns="timestamp").to_csv(tmp_path / "test.csv", index=False)
    return tmp_path / "train.csv", tmp_path / "test.csv"


def run(split: tuple[Path, Path], output: Path, *options: str) -> dict[str, Any]:
    result = _invoke(split, output, *options)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def _invoke(split: tuple[Path, Path], output: Path, *options: str) -> Result:
    train, test = map(str, split)
    command = ["evaluate", "--train", train, "--test", test, "--output", str(output), "--json"]
    return CliRunner().invoke(app, [*command, *options])


def test_taste_beats_popularity_and_the_files_say_what_was_printed(
    split: tuple[Path, Path], tmp_path: Path
) -> None:
    printed = run(split, tmp_path / "out", "--tune-minutes", "0", "--k", "5")
    assert printed["ranking"]["als+walk"]["ndcg"] > 1.3 * printed["ranking"]["popular"]["ndcg"]
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == printed
    assert printed["test"]["unknown_users"] == 1
    assert printed["test"]["pairs_of_unknown_items"] == 1
    lists = pd.read_csv(tmp_path / "out/recommendations.csv", dtype=str)
    assert list(lists) == ["user_id", "item_id", "rank", "score"]
    assert "nobody" in set(lists["user_id"]), "an unknown user gets the popular list"
    train = pd.read_csv(split[0], dtype=str)
    assert lists.merge(train, on=["user_id", "item_id"]).empty, "what was bought is left out"


def test_what_given_files_are_asked_for_is_guessed_and_said(
    split: tuple[Path, Path], tmp_path: Path
) -> None:
    options = ("--tune-minutes", "0", "--k", "5")
    once = _invoke(split, tmp_path / "out", *options)
    assert json.loads(once.stdout)["settings_for"] == "what is missing"
    assert "--validation time, if the test is what comes next" in once.stderr
    table = pd.read_csv(split[0])
    pd.concat([table, table.assign(timestamp=table["timestamp"] + 60)]).to_csv(split[0])
    again = _invoke(split, tmp_path / "out", *options)
    assert json.loads(again.stdout)["settings_for"] == "what comes next"
    assert "--validation random, if the test is what is missing" in again.stderr
    told = _invoke(split, tmp_path / "out", *options, "--validation", "random")
    assert json.loads(told.stdout)["settings_for"] == "what is missing"
    assert "--validation" not in told.stderr


def test_independent_scorer_agrees(
    split: tuple[Path, Path], tmp_path: Path, scorer: ModuleType
) -> None:
    printed = run(split, tmp_path / "out", "--tune-minutes", "0", "--k", "7")["ranking"]["als+walk"]
    lists, test, train = map(
        scorer.load, (tmp_path / "out/recommendations.csv", split[1], split[0])
    )
    theirs = scorer.score_ranking(lists, test, train, ks=(7,))
    for ours, name in (("ndcg", "ndcg"), ("recall", "recall"), ("map", "map"), ("hit_rate", "hit")):
        assert printed[ours] == pytest.approx(theirs[f"{name}@7"], abs=1e-9), name
    assert printed["coverage"] == pytest.approx(theirs["coverage@7"], abs=1e-9)
    assert theirs["recommendations_seen_in_train"] == 0


def interactions(
    n_users: int, n_items: int, n_rows: int, *, times: int | None, seed: int = 0
) -> dataset.Rows:
    """Rows of different pairs as long as there are so many, then the same pairs again."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(n_users * n_items)
    users, items = np.divmod(np.resize(pairs, n_rows), n_items)
    days = None if times is None else rng.integers(0, times, n_rows) * 86_400
    ratings = np.ones(n_rows, np.float32)
    return dataset.Rows(users.astype(np.int32), items.astype(np.int32), ratings, days)


def sales(*, in_fashion: bool) -> dataset.Rows:
    """A year of 300 users who buy twice what they buy; every month ten other items, or any."""
    rng = np.random.default_rng(0)
    users, days = rng.integers(0, 300, 6_000), np.sort(rng.integers(0, 365, 6_000))
    first = days // 30 * 10 if in_fashion else rng.integers(0, 13, 6_000) * 10
    items = first + np.minimum(rng.geometric(0.3, 6_000) - 1, 9)
    columns = (users.astype(np.int32), items.astype(np.int32), np.ones(6_000, np.float32))
    both = (np.tile(column, 2) for column in (*columns, days * 86_400))
    return dataset.Rows(*both)


def test_defaults_weigh_by_time_where_what_is_popular_changes() -> None:
    shape = (300, 130)
    rows = sales(in_fashion=True)
    chosen = defaults.default_choice(rows, shape, exclude_seen=False, by_time=True)
    assert (chosen.walk_half_life_days, chosen.repeat_weight) == (pytest.approx(14, abs=0.1), 60)
    undated = rows._replace(times=None)
    stays = sales(in_fashion=False)
    for each, by_time in ((rows, False), (undated, True), (stays, True)):
        chosen = defaults.default_choice(each, shape, exclude_seen=False, by_time=by_time)
        assert (chosen.half_life_days, chosen.walk_half_life_days) == (None, None)
        assert (chosen.transform, chosen.repeat_weight) == ("binary", 6)


def test_what_nobody_buys_twice_is_not_recommended_again() -> None:
    once = interactions(10, 800, 1_600, times=364)
    assert not defaults.are_sales(once, (10, 800))
    assert defaults.are_sales(interactions(10, 80, 1_600, times=364), (10, 80))
    for by_time in (False, True):
        chosen = defaults.default_choice(once, (10, 800), exclude_seen=False, by_time=by_time)
        assert chosen.repeat_weight == 0


def test_defaults_go_with_the_density() -> None:
    full = defaults.default_choice(interactions(100, 200, 1_200, times=None), (100, 200))
    empty = defaults.default_choice(interactions(100, 20_000, 1_200, times=None), (100, 20_000))
    assert empty.alpha > 3 * full.alpha
    assert (empty.walk_exponent, full.walk_exponent) == (0.3, 0.5)
    assert empty.walk_weight > full.walk_weight
    assert empty.regularization / empty.alpha == pytest.approx(full.regularization / full.alpha)


def test_search_is_seeded_and_begins_with_the_defaults(split: tuple[Path, Path]) -> None:
    train = dataset.read_dataset(split[0])
    start = defaults.default_choice(train.rows, train.shape)
    held = hold_out(train.rows, train.shape, exclude_seen=True, by_time=True, seed=1)
    found = [tuning.tune(held, start, k=5, minutes=5, max_trials=3) for _ in range(2)]
    assert [trial.value for trial in found[0].trials] == [trial.value for trial in found[1].trials]
    first = found[0].trials[0].choice
    assert (first.n_factors, first.alpha) == (start.n_factors, start.alpha)
    assert found[0].best == found[1].best
    assert found[0].value >= found[0].start_value


def test_held_out_is_never_trained_on(split: tuple[Path, Path]) -> None:
    train = dataset.read_dataset(split[0])
    held = hold_out(train.rows, train.shape, exclude_seen=True, by_time=True, seed=1)
    assert held.train.times is not None
    known = dataset.rating_matrix(held.train, train.shape)[held.users].toarray() > 0
    rows = held.relevant.rows()
    assert len(rows) > 0
    assert not known[rows, held.relevant.items].any()


def test_ratings_are_predicted_better_than_by_biases(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(60 * 40)[:1_500], 40)
    ratings = np.clip(
        np.round(3 + 1.5 * (-1.0) ** (users + items) + rng.normal(0, 0.3, 1_500)), 1, 5
    )
    table = pd.DataFrame({"user_id": users, "item_id": items, "rating": ratings})
    table[:1_200].to_csv(tmp_path / "train.csv", index=False)
    table[1_200:].to_csv(tmp_path / "test.csv", index=False)
    split = tmp_path / "train.csv", tmp_path / "test.csv"
    printed = run(
        split, tmp_path / "out", "--feedback", "explicit", "--tune-minutes", "1", "--trials", "4"
    )
    assert printed["errors"]["biases+als"]["rmse"] < 0.8 * printed["errors"]["biases"]["rmse"]
    predictions = pd.read_csv(tmp_path / "out/predictions.csv")
    assert len(predictions) == 300
    assert predictions["prediction"].between(1, 5).all()
    errors = predictions["prediction"].to_numpy() - table["rating"][1_200:].to_numpy()
    assert math.sqrt(np.square(errors).mean()) == pytest.approx(
        printed["errors"]["biases+als"]["rmse"], abs=1e-4
    )


def test_unknown_user_and_item_are_predicted_by_what_is_known() -> None:
    rows = dataset.Rows(
        np.array([0, 0, 1], np.int32),
        np.array([0, 1, 0], np.int32),
        np.array([5, 1, 4], np.float32),
        None,
    )
    ratings = dataset.last_ratings(rows, (2, 2))
    model = explicit.fit(ratings, explicit.Choice(n_factors=2))
    mean, with_user = explicit.predict(model, np.array([-1, 1]), np.array([-1, -1]))
    assert mean == pytest.approx(10 / 3)
    assert with_user == pytest.approx(10 / 3 + biases.fit_biases(ratings).users[1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user,item\n1,2\n", "no column user_id, item_id; it has user, item"),
        ("user_id,item_id\n", "has no row"),
        ("user_id,item_id,rating\n1,2,nan\n,3,4\n", "has no row"),
        ("", "cannot be read"),
    ],
)
def test_bad_file_is_named_with_what_was_found(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        dataset.read_dataset(tmp_path / "bad.csv")


def test_bad_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "some.csv").write_text(
        "user_id,item_id,rating,timestamp\n1,a,5,2024-01-01T00:00:00Z\n1,b,nan,2024-01-01T00:00:00Z\n"
        "2,,3,2024-01-01T00:00:00Z\n2,b,inf,2024-01-01T00:00:00Z\n2,b,2,yesterday\n"
        "002,b,4,2024-01-02T00:00:00Z\n"
    )
    found = dataset.read_dataset(tmp_path / "some.csv")
    assert found.n_left_out == 4
    assert found.user_ids.tolist() == ["002", "1"], "ids are text, zeros in front stay"
    assert found.rows.times is not None
    assert np.ptp(found.rows.times) == 86_400


def test_last_rating_of_a_pair_counts_and_zero_stays() -> None:
    rows = dataset.Rows(
        np.array([0, 0, 0], np.int32),
        np.array([1, 1, 0], np.int32),
        np.array([5, 2, 0], np.float32),
        np.array([20, 10, 5]),
    )
    found = dataset.last_ratings(rows, (1, 2))
    assert found.toarray().tolist() == [[0, 5]]
    assert found.nnz == 2


@pytest.mark.parametrize("only", ["one item", "one user", "all equal"])
def test_poor_data_has_a_defined_result(only: str, tmp_path: Path) -> None:
    table = purchases()[["user_id", "item_id"]]
    if only == "one item":
        table = table.assign(item_id="x").drop_duplicates()
    elif only == "one user":
        table = table.assign(user_id="x").drop_duplicates()
    table = table.assign(rating=3.0)
    table.to_csv(tmp_path / "train.csv", index=False)
    table[:5].to_csv(tmp_path / "test.csv", index=False)
    split = tmp_path / "train.csv", tmp_path / "test.csv"
    printed = run(
        split, tmp_path / "out", "--feedback", "explicit", "--tune-minutes", "1", "--trials", "2"
    )
    assert printed["errors"]["biases+als"]["rmse"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("only", ["one item", "one user", "nobody known"])
def test_poor_purchases_have_a_defined_result(only: str, tmp_path: Path) -> None:
    table = purchases()[["user_id", "item_id"]]
    if only == "one item":
        table = table.assign(item_id="x").drop_duplicates()
    elif only == "one user":
        table = table.assign(user_id="x").drop_duplicates()
    test = table[:5].assign(user_id="nobody") if only == "nobody known" else table[:5]
    table.to_csv(tmp_path / "train.csv", index=False)
    test.to_csv(tmp_path / "test.csv", index=False)
    split = tmp_path / "train.csv", tmp_path / "test.csv"
    printed = run(split, tmp_path / "out", "--tune-minutes", "1", "--trials", "2", "--k", "3")
    figures = {name: values["ndcg"] for name, values in printed["ranking"].items()}
    if only == "nobody known":
        assert len(set(figures.values())) == 1, "everybody unknown gets the popular list"
    else:
        assert set(figures.values()) == {0.0}, "what was bought is left out of the lists"


def test_a_bot_is_cut_to_its_newest_rows_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = 3600 * np.arange(100_000)
    bot = pd.DataFrame(
        {"user_id": "bot", "item_id": hours // 3600 % 40, "timestamp": hours + 1.6e9}
    )
    table = pd.concat([bot, purchases()])
    table[: len(bot) + 600].to_csv(tmp_path / "train.csv", index=False)
    table[len(bot) + 600 :].to_csv(tmp_path / "test.csv", index=False)
    monkeypatch.setenv("RECGRAPH_MAX_USER_EVENTS", "50")
    split = tmp_path / "train.csv", tmp_path / "test.csv"
    printed = run(split, tmp_path / "out", "--tune-minutes", "0")
    assert printed["capped_users"] == {"bot": 100_000}
    assert printed["train"]["rows"] == 650
    assert printed["ranking"]["als+walk"]["ndcg"] > printed["ranking"]["popular"]["ndcg"]


def test_the_newest_rows_of_a_user_stay() -> None:
    rows = dataset.Rows(
        np.array([0, 0, 1, 0], np.int32),
        np.array([0, 1, 0, 2], np.int32),
        np.ones(4, np.float32),
        np.array([30, 10, 5, 20]),
    )
    data = dataset.Dataset(rows, np.array(["a", "b"], object), np.array(list("xyz"), object), 0)
    capped, users = dataset.cap_users(data, 2)
    assert users == {"a": 3}
    assert capped.rows.items.tolist() == [0, 0, 2]
    timeless = data._replace(rows=rows._replace(times=None))
    assert dataset.cap_users(timeless, 2)[0].rows.items.tolist() == [1, 0, 2]


@pytest.mark.parametrize("split", ["time", "last-basket", "users", "random"])
def test_a_file_is_parted_and_taste_beats_popularity(split: str, tmp_path: Path) -> None:
    purchases().to_csv(tmp_path / "all.csv", index=False)
    command = ["evaluate", "--data", str(tmp_path / "all.csv"), "--split", split, "--json"]
    options = ["--output", str(tmp_path / "out"), "--tune-minutes", "0", "--k", "5"]
    result = CliRunner().invoke(app, [*command, *options])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["split"] == split
    assert list(printed["ranking"])[-1] == "als+walk"
    assert "item-knn" in printed["ranking"]
    # Each user's last item alone, of sixty users, says too little to compare by.
    if split != "last-basket":
        assert printed["ranking"]["als+walk"]["ndcg"] > printed["ranking"]["popular"]["ndcg"]
    lists = pd.read_csv(tmp_path / "out/recommendations.csv")
    assert lists["user_id"].nunique() == printed["test"]["users"]


@pytest.mark.parametrize(
    "files", [[], ["--train", "a.csv"], ["--data", "a.csv", "--train", "a.csv"]]
)
def test_files_that_do_not_go_together_are_refused(files: list[str]) -> None:
    result = CliRunner().invoke(app, ["evaluate", *files])
    assert isinstance(result.exception, InputError)
    assert "either --data FILE, or both" in str(result.exception)


def test_walk_exponent_and_weights_come_from_the_choice(split: tuple[Path, Path]) -> None:
    train = dataset.read_dataset(split[0])
    choice = recommender.Choice(n_factors=4, als_weight=0.0, walk_weight=1.0)
    signals = recommender.fit(train.rows, train.shape, choice)
    blended = recommender.coefficients(signals, recommender.weights_of(choice), seed=1)
    assert blended.als == 0
    assert blended.walk > 0
