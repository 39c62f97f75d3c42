"""Serving one generation: lists, baskets, what-if, similar, because; what is unknown is named."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from recgraph import blend, histories
from recgraph.errors import GenerationError
from recgraph.events import SaleEvent
from recgraph.generations import read_manifest, write_manifest
from recgraph.model import fold_in_users
from recgraph.serving import Serving, Wish, open_serving
from recgraph.walk import user_steps
from recgraph.weighing import EVENT
from tests.sample import NASTY_USERS, write_sample_generation

USER = NASTY_USERS[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_generation(tmp_path_factory.mktemp("generations"), n_users=30, n_items=200)


@pytest.fixture(scope="module")
def serving(folder: Path) -> Serving:
    return open_serving(folder)


def sale(item_id: str, **changes: object) -> SaleEvent:
    at = datetime(2026, 1, 3, tzinfo=UTC)
    fields = {"user_id": USER, "product_id": item_id, "quantity": 1.0, "occurred_at": at}
    return SaleEvent(**(fields | changes))  # type: ignore[arg-type]


def test_a_list_is_ordered_by_the_whole_score(serving: Serving) -> None:
    history = serving.history(USER)
    pairs = serving._pairs([history])
    shape = 1, len(serving.model.factors)
    ratings = pairs.matrix(pairs.ratings, shape)
    factors = fold_in_users(serving.model.factors, ratings, regularization=0.1, alpha=10.0)
    steps = user_steps(ratings.log1p(), serving.item_sums)
    users = blend.Users(factors, steps)
    scores = blend.score(users, serving.model, serving.coefficients).whole()[0]
    scores[pairs.items] = -np.inf
    best = np.argsort(-scores, kind="stable")[:5]
    rows = serving.recommend(history).rows
    assert [row.item_id for row in rows] == [serving.items.id(int(item)) for item in best]
    assert [row.score for row in rows] == pytest.approx(scores[best], rel=1e-5)
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5]


def test_the_parts_of_a_row_sum_to_its_score(serving: Serving) -> None:
    for row in serving.recommend(serving.history(USER), Wish(k=50)).rows:
        assert sum(row.parts.values()) == pytest.approx(row.score, abs=1e-12)
        shares = [reason.share for reason in row.because]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= row.parts["walk"] + 1e-6


def test_what_was_bought_is_left_out_unless_it_is_asked_for(serving: Serving) -> None:
    history = serving.history(USER)
    bought = {serving.items.id(item) for item in history["item"].tolist()}
    assert bought.isdisjoint(row.item_id for row in serving.recommend(history, Wish(k=200)).rows)
    everything = serving.recommend(history, Wish(k=200, exclude_seen=False)).rows
    assert bought <= {row.item_id for row in everything}
    assert len(everything) == 200


def test_hidden_items_and_other_departments_are_left_out(serving: Serving) -> None:
    history = serving.history(USER)
    first, *_, last = (row.item_id for row in serving.recommend(history, Wish(k=20)).rows)
    answer = serving.recommend(history, Wish(k=19, hidden=[first, last, "no such"]))
    assert {first, last}.isdisjoint(row.item_id for row in answer.rows)
    assert answer.ignored == ["no such"]
    dairy = serving.recommend(history, Wish(department="Dairy")).rows
    assert {row.department for row in dairy} == {"Dairy"}
    assert serving.recommend(history, Wish(department="no such")).rows == []


def test_somebody_unknown_gets_what_is_popular(serving: Serving) -> None:
    rows = serving.recommend(serving.history("nobody")).rows
    n_buyers = np.diff(serving.histories.buyer_ends, prepend=0)
    best = np.argsort(-n_buyers, kind="stable")[:5]
    assert [row.item_id for row in rows] == [serving.items.id(int(item)) for item in best]
    assert {row.source for row in rows} == {"popular"}
    assert {row.score for row in rows} == {0.0}


def test_a_basket_is_a_history_of_one_purchase_each(serving: Serving) -> None:
    answer = serving.basket(["1010", "no such", "1020"])
    now = datetime.fromtimestamp(serving.histories.newest / 1e6, UTC)
    sales = [sale(item_id, occurred_at=now) for item_id in ("1010", "1020")]
    packed = serving.packed((str(number), each) for number, each in enumerate(sales))
    assert answer.rows == serving.recommend(packed).rows
    assert answer.ignored == ["no such"]
    assert serving.basket([]).rows == serving.recommend(serving.history("nobody")).rows
    rows = serving.basket(["1010"] * 3, Wish(k=200)).rows
    reasons = [each for row in rows for each in row.because]
    assert {each.item_id for each in reasons} == {"1010"}


def test_what_if_is_the_list_after_the_purchases(serving: Serving) -> None:
    history = serving.history(USER)
    wanted = serving.recommend(history).rows[0].item_id
    answer = serving.what_if(history, [wanted], Wish(hidden=["1030"]))
    assert not {wanted, "1030"} & {row.item_id for row in answer.rows}
    assert len(history) == len(serving.history(USER))


def test_a_sale_again_changes_nothing(serving: Serving) -> None:
    fresh = serving.packed([("one", sale("1100"))])
    once = serving.history(USER, fresh)
    twice = serving.history(USER, np.concatenate([fresh, fresh]))
    assert once.tolist() == twice.tolist()
    assert len(once) == len(serving.history(USER)) + 1


def test_a_return_takes_a_purchase_back(serving: Serving) -> None:
    before = serving.recommend(serving.history(USER)).rows
    pair = [("one", sale("1100")), ("two", sale("1100", quantity=-1.0))]
    after = serving.recommend(serving.history(USER, serving.packed(pair))).rows
    assert [row.item_id for row in before] == [row.item_id for row in after]


@pytest.mark.parametrize("changes", [{"kind": "view"}, {"quantity": -1.0}])
def test_what_was_only_viewed_or_given_back_has_the_time_of_that(
    serving: Serving, changes: dict[str, object]
) -> None:
    event = sale("1100", **changes)
    history = serving.packed([("one", event)])
    (row,) = serving.bought(history, history["item"]).rows
    assert row.item_id == "1100"
    assert row.last_at == event.occurred_at


def test_similar_items_are_the_walks_neighbours(serving: Serving) -> None:
    near = serving.similar("1010", 5)
    weights = [each.weight for each in near]
    assert len(near) == 5
    assert weights == sorted(weights, reverse=True)
    assert "1010" not in {each.item_id for each in near}
    assert serving.similar("no such", 5) == []


def test_because_names_the_shares_and_the_common_buyers(serving: Serving) -> None:
    history = serving.history(USER)
    row = next(row for row in serving.recommend(history, Wish(k=50)).rows if row.because)
    found = serving.because(history, row.item_id)
    assert [(each.item_id, each.share) for each in found] == [
        (reason.item_id, pytest.approx(reason.share)) for reason in row.because
    ]
    everybody = [serving.history(user.decode()) for user in serving.histories.users.to_pylist()]
    items = [{serving.items.id(item) for item in each["item"].tolist()} for each in everybody]
    both = sum({found[0].item_id, row.item_id} <= bought for bought in items)
    assert found[0].n_buyers == both
    assert serving.because(history, "no such") == []


def test_many_lists_at_once_are_those_of_each(serving: Serving) -> None:
    users = [*NASTY_USERS, "nobody"]
    together = serving.lists_of([serving.history(user) for user in users], Wish())
    for user, rows in zip(users, together, strict=True):
        alone = serving.recommend(serving.history(user)).rows
        assert [row.item_id for row in rows] == [row.item_id for row in alone]
        assert [row.score for row in rows] == pytest.approx([row.score for row in alone], rel=1e-4)


def test_an_old_or_an_explicit_generation_is_refused(tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path)
    (folder / histories.HISTORIES / "users.arrow").unlink()
    with pytest.raises(GenerationError, match="Train again"):
        open_serving(folder)


def test_a_generation_with_repeats_of_an_older_version_is_refused(tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path)
    manifest = read_manifest(folder)
    older = manifest.coefficients | {"repeat": 6.0}
    write_manifest(folder, msgspec.structs.replace(manifest, coefficients=older))
    with pytest.raises(GenerationError, match="older version"):
        open_serving(folder)


def test_an_event_of_the_future_does_not_count_more_than_one(serving: Serving) -> None:
    late = sale("1100", occurred_at=datetime(2026, 1, 3, tzinfo=UTC) + timedelta(days=400))
    history = serving.packed([("late", late)])
    assert serving._pairs([history]).ratings.tolist() == [1.0]
    assert history.dtype == EVENT
