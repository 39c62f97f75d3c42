"""One line -> a review or a reason; whatever the bytes are, there is an answer."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgraph import reviews
from recgraph.config import load_settings
from recgraph.errors import InputError
from recgraph.reviews import Reason, Rejection, Review, parse_review
from tests.review_files import encoded, line_2014, line_2018, line_2023

RULES = reviews.rules_from_settings(load_settings())
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def parsed(raw: bytes) -> Review:
    found = parse_review(raw, RULES, now=NOW)
    assert isinstance(found, Review)
    return found


def rejected(raw: bytes) -> Rejection:
    found = parse_review(raw, RULES, now=NOW)
    assert isinstance(found, Rejection)
    return found


def test_a_line_of_2014_is_a_review() -> None:
    found = parsed(encoded(line_2014()))
    assert found.source_format == "2014"
    assert (found.user_id, found.item_id) == ("A2SUAM1J3GNN3B", "0000013714")
    assert (found.rating, found.title) == (5.0, "Heavenly Highway Hymns")
    assert found.reviewed_at == datetime(2009, 9, 13, tzinfo=UTC)
    assert (found.helpful_votes, found.verified, found.variant) == (2, None, None)


def test_a_line_of_2018_is_a_review() -> None:
    found = parsed(encoded(line_2018()))
    assert found.source_format == "2018"
    assert (found.helpful_votes, found.verified) == (1234, True)
    assert found.variant == '{"Color:":"Charcoal","Size:":"Large"}'
    assert found.text == "I now have 4 of the 5 available colors of this shirt..."


def test_a_line_of_2023_is_a_review_of_the_parent_product() -> None:
    found = parsed(encoded(line_2023()))
    assert found.source_format == "2023"
    assert (found.item_id, found.variant) == ("B08BBQ29N5", "B088SZDGXG")
    assert found.reviewed_at == datetime(2021, 10, 15, 5, 20, 59, 292000, tzinfo=UTC)
    assert (found.helpful_votes, found.verified) == (3, False)
    assert found.text == "No pilling.<br />Warm &amp; soft."


def test_a_python_dict_is_read_like_json() -> None:
    line = line_2014(reviewText='It\'s "fine"', verified=True)
    assert rejected(str(line).encode()[:-1]).reason == Reason.NOT_JSON
    assert parsed(str(line).encode()) == parsed(encoded(line))


def test_the_identity_is_the_content_however_it_is_written() -> None:
    line = line_2018()
    backwards = dict(reversed(line.items())) | {"style": dict(reversed(line["style"].items()))}
    same = parsed(encoded(backwards | {"reviewerName": "A.", "image": ["https://example.org"]}))
    assert same == parsed(encoded(line))
    others = [
        {"overall": 4.0},
        {"reviewText": line["reviewText"] + " "},
        {"reviewText": None},
        {"reviewText": ""},
        {"vote": "1,235"},
        {"verified": False},
        {"style": None},
        {"asin": "5120053085"},
        {"reviewerID": "a"},
        {"unixReviewTime": 1514764801},
    ]
    ids = {parsed(encoded(line | other)).review_id for other in others}
    assert len(ids | {same.review_id}) == len(others) + 1


def test_missing_texts_and_votes_stay_missing() -> None:
    line = line_2018()
    for name in ("reviewText", "summary", "vote", "verified", "style"):
        del line[name]
    found = parsed(encoded(line))
    assert (found.text, found.title) == (None, None)
    assert (found.helpful_votes, found.verified, found.variant) == (None, None, None)


@pytest.mark.parametrize(
    ("raw", "reason", "detail"),
    [
        (b"  \r", Reason.EMPTY, "no content"),
        (b'{"overall": 5.0, "reviewerID', Reason.NOT_JSON, "neither JSON nor a Python dict"),
        (b"\xff\xfe{}", Reason.NOT_JSON, "neither"),
        (b'{"reviewText": "\\ud83d"}', Reason.NOT_JSON, "truncated"),
        (b"{" * 50_000, Reason.NOT_JSON, "neither"),
        (b"[1, 2]", Reason.NOT_AN_OBJECT, "array"),
        (b"{1, 2}", Reason.NOT_JSON, "neither"),
        (b"{}", Reason.MISSING_FIELD, "no reviewerID or user_id, no asin or parent_asin"),
        (encoded(line_2018(overall=None)), Reason.MISSING_FIELD, "no overall or rating"),
        (encoded(line_2018(unixReviewTime=None)), Reason.MISSING_FIELD, "no unixReviewTime"),
        (encoded(line_2018(overall="5")), Reason.WRONG_TYPE, "$.overall"),
        (str(line_2014(overall="5")).encode(), Reason.WRONG_TYPE, "$.overall"),
        (encoded(line_2018(vote="many")), Reason.WRONG_TYPE, "'many' is no number"),
        (encoded(line_2014(helpful=[2**63, 0])), Reason.WRONG_TYPE, "[9223372036854775808, 0]"),
        (encoded(line_2018(asin=" ")), Reason.EMPTY_ID, "product is ' '"),
        (encoded(line_2018(reviewerID="x" * 257)), Reason.ID_TOO_LONG, "257 characters"),
        (encoded(line_2018(overall=0)), Reason.RATING_OUT_OF_RANGE, "0, expected 1 to 5"),
        (encoded(line_2018(overall=5.1)), Reason.RATING_OUT_OF_RANGE, "5.1"),
        (encoded(line_2018(unixReviewTime=0)), Reason.TIME_OUT_OF_RANGE, "1970-01-01 is not in"),
        (encoded(line_2018(unixReviewTime=1e300)), Reason.TIME_OUT_OF_RANGE, "1e+300 s"),
        (encoded(line_2023(timestamp=1634275259)), Reason.TIME_OUT_OF_RANGE, "1970-01-19"),
        (b"x" * 1_048_577, Reason.TOO_LARGE, "1048577 bytes"),
    ],
)
def test_what_is_no_review_says_why(raw: bytes, reason: Reason, detail: str) -> None:
    found = rejected(raw)
    assert found.reason == reason
    assert detail in found.detail


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_have_an_answer(raw: bytes) -> None:
    assert isinstance(parse_review(raw, RULES, now=NOW), Rejection)


_VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.integers(), max_size=2)
)
_LINES = st.sampled_from([line_2014(), line_2018(), line_2023()])


@given(_LINES, st.data())
def test_any_values_have_an_answer(line: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(line)))
    found = parse_review(str(line | {name: data.draw(_VALUES)}).encode(), RULES, now=NOW)
    assert isinstance(found, Rejection) or abs(found.helpful_votes or 0) < 2**63


def test_a_file_of_products_is_named() -> None:
    product = encoded({"asin": "B001", "title": "A card", "price": "$5.00", "main_cat": "Gifts"})
    with pytest.raises(InputError, match="holds products, not reviews"):
        reviews.check_head(Path("meta.json"), [product] * 3)


@pytest.mark.parametrize(
    ("lines", "said"), [([], "is empty"), ([b"a,b", b"1,2"], "begins with 'a,b'")]
)
def test_a_file_of_another_kind_is_named(lines: list[bytes], said: str) -> None:
    with pytest.raises(InputError, match=said):
        reviews.check_head(Path("x"), lines)


def test_a_corrupt_first_line_does_not_turn_a_file_away() -> None:
    reviews.check_head(Path("x"), [b'rating": 5}', encoded(line_2018())])
    reviews.check_head(Path("x"), [b'{"overall": 5, "asi'])
