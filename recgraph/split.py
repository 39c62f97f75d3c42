"""Events -> what a model may learn from, and what it is tested on."""

from datetime import datetime, timedelta


def cut_time(first: datetime, last: datetime, *, test_days: float) -> datetime | None:
    """The moment that parts training from test: train before it, test from it on.

    The test period is ``test_days`` long but never more than a quarter of the whole span, so
    that a short history still trains on most of it. None when all events share one moment.
    """
    if first >= last:
        return None
    return last - min(timedelta(days=test_days), (last - first) / 4)
