"""The feed on a real broker: what comes, what was missed, a topic made anew, a broker away."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

import msgspec
import pytest
from kafka import KafkaAdminClient

from recgraph.config import Settings
from recgraph.errors import FeedGap, ServiceError
from recgraph.ports import Freshness, News, Recommendations, Recommended
from recgraph.services import kafka
from recgraph.services.embedded import ensure_kafka, find_kafka, kafka_service, stop_all
from recgraph.services.feed import KafkaFeed
from recgraph.services.processes import running
from tests.conftest import java_problem, requires

pytestmark = pytest.mark.services

Send = Callable[..., None]


def a_list(user_id: str, revision: int = 1) -> Recommendations:
    at = datetime(2026, 1, 5, 12, tzinfo=UTC)
    row = Recommended("milk", 1, 0.5, {"als": 0.5}, "als", "Milk\r\n")
    made = Freshness("g", "live", at, at, "t", {"0": 7}, revision)
    return Recommendations(user_id, [row], made)


def send_lists(
    bootstrap: str, topic: str, *lists: Recommendations | bytes, rate: float | None = None
) -> None:
    messages = [
        (b"?", each) if isinstance(each, bytes) else (each.user_id.encode(), encoded(each))
        for each in lists
    ]
    assert kafka.produce(bootstrap, topic, messages, rate=rate).acknowledged == len(lists)


def encoded(made: Recommendations) -> bytes:
    return msgspec.json.encode(made)


@pytest.fixture
def feed_settings(settings: Settings, kafka_bootstrap: str, topic: str) -> Settings:
    return settings.model_copy(update={"kafka_bootstrap": kafka_bootstrap, "live_topic": topic})


@pytest.fixture
def send(feed_settings: Settings, kafka_bootstrap: str) -> Send:
    return partial(send_lists, kafka_bootstrap, feed_settings.live_topic)


class Reader:
    """Reads a feed until something holds."""

    def __init__(self, settings: Settings) -> None:
        self.feed = KafkaFeed(settings)
        self.stop = threading.Event()
        self.news = self.feed.news(self.stop)
        self.lists: list[tuple[str, int]] = []

    def until(self, holds: Callable[[News], bool]) -> News:
        for _ in range(200):
            news = next(self.news)
            self.lists += [(each.made.user_id, each.made.freshness.revision) for each in news.lists]
            if holds(news):
                return news
        raise AssertionError(self.lists)

    def until_lists(self, n: int) -> News:
        return self.until(lambda _: len(self.lists) >= n)


@pytest.fixture
def reader(feed_settings: Settings) -> Iterator[Reader]:
    reader = Reader(feed_settings)
    assert next(reader.news).problem is None
    yield reader
    reader.stop.set()
    assert list(reader.news) == []
    reader.feed.close()


def test_lists_come_as_they_were_sent_and_rubbish_is_passed_over(
    reader: Reader, send: Send
) -> None:
    send(a_list("ann"), b"no list", a_list("bob 🛒"), b"", a_list("ann", 2))
    reader.until_lists(3)
    assert sorted(reader.lists) == [("ann", 1), ("ann", 2), ("bob 🛒", 1)]
    assert [revision for user, revision in reader.lists if user == "ann"] == [1, 2]


def test_every_reader_gets_every_list_from_now_on(
    reader: Reader, feed_settings: Settings, send: Send
) -> None:
    send(a_list("before"))
    reader.until_lists(1)
    late = Reader(feed_settings)
    next(late.news)
    send(a_list("ann"))
    reader.until_lists(2)
    late.until_lists(1)
    late.stop.set()
    list(late.news)
    assert late.lists == [("ann", 1)]


def test_between_returns_what_was_missed(reader: Reader, send: Send) -> None:
    start = reader.feed.news(reader.stop) and next(reader.news).position
    send(*[a_list(f"u{n % 3}", n) for n in range(12)])
    end = reader.until_lists(12).position
    missed = reader.feed.between(start, end)
    assert sorted(each.made.freshness.revision for each in missed) == list(range(12))
    own = reader.feed.between(start, end, "u1")
    assert [each.made.freshness.revision for each in own] == [1, 4, 7, 10]
    rest = reader.feed.between(missed[4].position, end)
    assert [each.made for each in rest] == [each.made for each in missed[5:]]
    assert reader.feed.between(end, end) == []


@pytest.mark.parametrize(
    "position", ["", "x", "1.2", f"{'0' * 36}:0.0", "0" * 36 + ":" + "9" * 30, "\x00", "🛒" * 99]
)
def test_what_is_no_position_is_a_gap(reader: Reader, position: str) -> None:
    with pytest.raises(FeedGap):
        reader.feed.between(position, next(reader.news).position)


def test_topic_made_anew_is_a_gap(
    reader: Reader, feed_settings: Settings, kafka_bootstrap: str, send: Send
) -> None:
    send(a_list("ann"))
    before = reader.until_lists(1).position
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.delete_topics([feed_settings.live_topic])
    admin.close()
    again = reader.until(lambda news: news.has_gap)
    with pytest.raises(FeedGap, match="another one"):
        reader.feed.between(before, again.position)
    send(a_list("bob"))
    reader.until_lists(2)
    assert reader.lists[-1] == ("bob", 1)


def test_broker_that_is_killed_is_said_and_nothing_is_missed(settings: Settings) -> None:
    requires(java_problem() is None, java_problem() or "")
    reader = Reader(settings)
    assert "recgraph up" in str(reader.until(lambda news: news.problem is not None).problem)
    bootstrap = ensure_kafka(settings)
    start = reader.until(lambda news: news.problem is None).position
    send_lists(bootstrap, settings.live_topic, a_list("ann"))
    reader.until_lists(1)
    broker = running(kafka_service(settings))
    assert broker is not None
    broker.kill()
    away = reader.until(lambda news: news.problem is not None)
    with pytest.raises(ServiceError):
        reader.feed.between(start, away.position)
    assert find_kafka(settings) is None
    send_lists(ensure_kafka(settings), settings.live_topic, a_list("bob"))
    reader.until_lists(2)
    assert reader.lists == [("ann", 1), ("bob", 1)]
    reader.stop.set()
    list(reader.news)
    reader.feed.close()
    stop_all(settings)
