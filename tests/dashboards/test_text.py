from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from dashboards import palette
from dashboards.text import (
    ago,
    error_verdict,
    listed,
    moment,
    number,
    share,
    shorten,
    source_name,
    verdicts,
)
from recgraph.generations import ErrorMetrics, Metrics, RankingMetrics

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def metrics(*rows: tuple[str, str, float]) -> Metrics:
    ranking = [RankingMetrics(t, r, 10, 5, 0.1, recall, 0.5) for t, r, recall in rows]  # type: ignore[arg-type]
    return Metrics(NOW, 28.0, ranking, [])


def test_numbers_have_separators() -> None:
    assert number(1469307) == "1,469,307"
    assert number(1234.5, 1) == "1,234.5"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.0 %"), (0.1264, "12.6 %"), (1, "100.0 %"), (0.00042, "0.042 %")],
)
def test_share_is_a_percentage(value: float, text: str) -> None:
    assert share(value) == text


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=59), "59 seconds ago"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=30), "1 day ago"),
        (timedelta(days=2000), "2,000 days ago"),
        (timedelta(seconds=-3), "just now"),
        (timedelta(hours=-3), "in the future"),
    ],
)
def test_ago_names_the_largest_unit(before: timedelta, text: str) -> None:
    assert ago(NOW - before, NOW) == text


def test_listed_reads_as_a_sentence_does() -> None:
    assert [listed(["a", "b", "c"][:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_moment_is_in_utc() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    assert moment(datetime(2026, 1, 1, 2, 0, tzinfo=east)) == "2025-12-31 20:30 UTC"


def test_shorten_keeps_short_texts() -> None:
    assert shorten("abc", 3) == "abc"
    assert shorten("abcd", 3) == "ab…"


def test_verdict_compares_with_each_baseline() -> None:
    found = verdicts(
        metrics(
            ("next_basket", "als", 0.081),
            ("next_basket", "popular", 0.0623),
            ("next_basket", "repeats", 0.162),
            ("new_items", "als", 0.02),
            ("new_items", "popular", 0.02),
        )
    )
    assert found == [
        "ALS finds 8.1 % of the next purchases: 1.3 times as many as the popular list and 0.5 "
        "times as many as repeating what they bought most.",
        "ALS finds 2.0 % of the first-time purchases: as many as the popular list.",
    ]


def test_verdict_is_of_the_lists_that_are_published() -> None:
    rows = metrics(
        ("next_basket", "als+walk", 0.1),
        ("next_basket", "als+walk+repeat", 0.3),
        ("new_items", "als+walk", 0.2),
    )
    published = msgspec.structs.replace(rows, model="als+walk+repeat")
    assert [text.split(" %")[0] for text in verdicts(published)] == [
        "ALS + graph walk + repeats finds 30.0",
        "ALS + graph walk finds 20.0",
    ]


def test_source_name_names_each_part() -> None:
    assert source_name("als+walk") == "ALS + graph walk"
    assert source_name("content") == "like what they bought"
    assert source_name("made elsewhere") == "made elsewhere"


def test_verdict_of_a_baseline_that_finds_nothing() -> None:
    (found,) = verdicts(metrics(("new_items", "als", 0.1), ("new_items", "popular", 0.0)))
    assert found == "ALS finds 10.0 % of the first-time purchases: the popular list finds none."


def test_verdict_without_the_model_says_nothing() -> None:
    assert verdicts(metrics(("new_items", "popular", 0.1))) == []
    assert verdicts(metrics()) == []


@pytest.mark.parametrize(("ours", "word"), [(0.4, ", less than"), (0.6, ", no less than")])
def test_error_verdict_says_which_is_smaller(ours: float, word: str) -> None:
    errors = [ErrorMetrics("als", 10, ours, 0.3), ErrorMetrics("constant", 10, 0.5, 0.5)]
    of_ratings, of_purchases = (error_verdict(errors, each) for each in ("explicit", "implicit"))
    assert of_ratings is not None
    assert of_purchases is not None
    assert word in of_ratings
    assert word in of_purchases
    assert "decides nothing" in of_purchases
    assert "decides nothing" not in of_ratings
    assert error_verdict([], "explicit") is None


def luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_read_in_both_schemes(scheme: str) -> None:
    ground = palette.SURFACE[scheme]
    assert contrast(palette.INK[scheme], ground) >= 7
    assert contrast(palette.MUTED[scheme], ground) >= 4.5
    for colour in (palette.BOUGHT, palette.RECOMMENDED, palette.NEUTRAL):
        assert contrast(colour, ground) >= 3
