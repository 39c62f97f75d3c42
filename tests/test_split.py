"""Where training ends and the test period begins."""

from datetime import UTC, datetime, timedelta

from recgraph.split import cut_time

FIRST = datetime(2017, 1, 1, tzinfo=UTC)


def test_cut_time_holds_back_the_test_days_of_a_long_history() -> None:
    last = FIRST + timedelta(days=365)
    assert cut_time(FIRST, last, test_days=28) == last - timedelta(days=28)


def test_cut_time_never_holds_back_more_than_a_quarter() -> None:
    assert cut_time(FIRST, FIRST + timedelta(days=40), test_days=28) == FIRST + timedelta(days=30)


def test_cut_time_of_a_single_moment_is_none() -> None:
    assert cut_time(FIRST, FIRST, test_days=28) is None
