"""The stream over a real broker, real accounts and real sockets."""

import http.client
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from dashboards.auth import Links, read_secret_key
from dashboards.stream.access import Guard
from dashboards.stream.app import StreamParts
from recgraph.config import Settings
from recgraph.services.accounts import MongoAccounts
from recgraph.services.connection import open_connection
from recgraph.services.embedded import ensure_kafka, kafka_service, stop_all
from recgraph.services.feed import KafkaFeed
from recgraph.services.processes import running
from tests.api.tap import tapped
from tests.conftest import java_problem, requires
from tests.dashboards.sending import csrf_token, use_link
from tests.dashboards.serving import HOSTS
from tests.dashboards.streaming import PATH, Listener, streamed
from tests.services.test_feed import Send, a_list, feed_settings, send, send_lists

__all__ = ["feed_settings", "send"]

pytestmark = pytest.mark.services

OWN = "http://127.0.0.1:8050"
HIDDEN = "bread"

Headers = dict[str, str]
Open = Callable[..., Listener]


@pytest.fixture
def parts_over(accounts: MongoAccounts, tmp_path: Path) -> Callable[..., StreamParts]:
    def make(settings: Settings, max_clients: int = 20) -> StreamParts:
        key = read_secret_key(tmp_path / "session.key")
        guard = Guard(accounts, key, HOSTS, lambda: {OWN})
        hidden = frozenset({HIDDEN})
        feed = KafkaFeed(settings)
        return StreamParts(feed, lambda user_id: hidden, guard, max_clients, heartbeat_s=0.3)

    return make


@pytest.fixture
def port(parts_over: Callable[..., StreamParts], feed_settings: Settings) -> Iterator[int]:
    with streamed(parts_over(feed_settings)) as port:
        yield port


@pytest.fixture
def key(accounts: MongoAccounts) -> Headers:
    return {"X-API-Key": accounts.keys.add("test", ("read",), None)[1]}


@pytest.fixture
def listen(port: int, key: Headers) -> Iterator[Open]:
    """Opens streams that have seen their first event."""
    opened: list[Listener] = []

    def open_one(headers: Headers | None = None, **query: str) -> Listener:
        opened.append(Listener(port, key | (headers or {}), **query))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def ready(listener: Listener) -> str:
    """Wait until lists come, and return the position."""
    event = listener.next("ready")
    return (event if event.data["problem"] is None else listener.next("fresh")).id


def revisions(listener: Listener, n: int) -> list[int]:
    return [listener.next("recommendations").data["freshness"]["revision"] for _ in range(n)]


def test_lists_come_to_all_and_to_the_user(listen: Open, send: Send) -> None:
    everything, ann, other = listen(), listen(user="ann 🛒&"), listen(user="nobody")
    for each in (everything, ann, other):
        ready(each)
    send(a_list("ann 🛒&", 1), a_list("bob", 2), a_list("ann 🛒&", 3))
    assert sorted(revisions(everything, 3)) == [1, 2, 3]
    first = ann.next("recommendations")
    assert first.data["user_id"] == "ann 🛒&"
    assert [row["product_id"] for row in first.data["items"]] == ["milk"]
    assert first.data["items"][0]["title"] == "Milk\r\n"
    assert first.data["freshness"]["offsets"] == {"0": 7}
    assert revisions(ann, 1) == [3]
    assert next(other.lines()) == ":"  # nothing but that it is alive


def test_who_comes_back_gets_what_was_missed(
    listen: Open,
    send: Send,
    parts_over: Callable[..., StreamParts],
    feed_settings: Settings,
    key: Headers,
) -> None:
    before = listen(user="ann")
    ready(before)
    send(a_list("ann", 1))
    last_id = before.next("recommendations").id
    before.close()
    send(a_list("ann", 2), a_list("bob", 9), a_list("ann", 3))
    again = listen({"Last-Event-ID": last_id}, user="ann")
    assert revisions(again, 2) == [2, 3]
    with streamed(parts_over(feed_settings)) as other_process:
        late = Listener(other_process, key, user="ann", after=last_id)
        assert revisions(late, 2) == [2, 3]
        send(a_list("ann", 4))
        assert revisions(late, 1) == [4]
        late.close()
    gap = listen({"Last-Event-ID": "what?"}).next("gap", "recommendations")
    assert (gap.name, "expected" in gap.data["problem"]) == ("gap", True)


def test_stream_is_closed_but_to_good_keys_and_sessions(
    listen: Open, port: int, accounts: MongoAccounts, client: FlaskClient, links: Links
) -> None:
    def status(headers: Headers, path: str = PATH) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path, headers=headers)
        with closing(connection), connection.getresponse() as answer:
            return answer.status

    write = {"X-API-Key": accounts.keys.add("till", ("write",), None)[1]}
    read = {"Authorization": f"Bearer {accounts.keys.add('shop', ('read',), None)[1]}"}
    use_link(client, links)
    name = client.application.config["SESSION_COOKIE_NAME"]
    cookie = client.get_cookie(name)
    assert cookie is not None
    session = {"Cookie": f"{name}={cookie.value}"}
    assert [status(each) for each in ({}, {"X-API-Key": "rg_x"}, write, read, session)] == [
        *(401, 401, 403, 200, 200)
    ]
    forged = {"Cookie": f"{name}={cookie.value[:-3]}xyz"}
    assert [status(each) for each in (forged, session | {"X-API-Key": "rg_x"})] == [401, 401]
    assert status(read | {"Host": "evil.example"}) == 400
    assert status(read | {"Origin": "http://127.0.0.1:9999"}) == 403
    assert status({}, "/healthz") == 204
    assert [status(each, "/metrics") for each in ({}, read)] == [401, 404]
    assert status(read, f"{PATH}?user=") == status(read, f"{PATH}?users=x") == 422
    own = Listener(port, session | {"Origin": OWN})
    assert own.answer.headers["Access-Control-Allow-Origin"] == OWN
    assert own.answer.headers["Access-Control-Allow-Credentials"] == "true"
    send_out = {"csrf_token": csrf_token(client, "/account")}
    assert client.post("/sign-out", data=send_out).status_code == 302
    assert [event.name for event in own.events] in (["ready"], ["ready", "fresh"])  # and no more
    own.close()


def test_key_that_is_revoked_ends_its_stream(port: int, accounts: MongoAccounts) -> None:
    entry, secret = accounts.keys.add("test", ("read",), None)
    listener = Listener(port, {"X-API-Key": secret})
    ready(listener)
    accounts.keys.revoke(entry.prefix)
    assert list(listener.events) == []
    listener.close()


def test_store_that_is_away_lets_streams_go_on_and_is_said_to_strangers(
    feed_settings: Settings, mongo_uri: str, accounts: MongoAccounts, key: Headers, tmp_path: Path
) -> None:
    other = {"X-API-Key": accounts.keys.add("other", ("read",), None)[1]}
    name, mongo_port = accounts.connection.database.name, urlsplit(mongo_uri).port
    assert mongo_port is not None
    with tapped(mongo_port) as tap:
        uri = f"mongodb://127.0.0.1:{tap.port}/?directConnection=true"
        with open_connection(uri, name, longest_s=2.0) as connection:
            own = MongoAccounts(connection)
            guard = Guard(own, read_secret_key(tmp_path / "session.key"), HOSTS, lambda: {OWN})
            feed = KafkaFeed(feed_settings)
            parts = StreamParts(feed, lambda user_id: frozenset(), guard, 20, heartbeat_s=0.3)
            with streamed(parts) as port:
                known = Listener(port, key)
                ready(known)
                tap.freeze()
                started = time.monotonic()
                stranger = Listener(port, other)
                assert stranger.status == 503
                assert int(stranger.answer.headers["Retry-After"]) > 0
                assert time.monotonic() - started < 5
                lines = known.lines()
                beats = [line for line in itertools.islice(lines, 40) if line.startswith(":")]
                assert len(beats) > 10  # and it was asked meanwhile who reads this
                for each in (known, stranger):
                    each.close()
                tap.reopen()


def test_more_clients_than_may_be_are_told_when_to_come_back(
    parts_over: Callable[..., StreamParts], feed_settings: Settings, key: Headers
) -> None:
    with streamed(parts_over(feed_settings, max_clients=2)) as port:
        first, second, third = (Listener(port, key) for _ in range(3))
        assert [each.status for each in (first, second, third)] == [200, 200, 503]
        assert third.answer.headers["Retry-After"] == "5"
        assert b"RECGRAPH_STREAM_CLIENTS" in third.answer.read()
        first.close()
        deadline = time.monotonic() + 10
        while (last := Listener(port, key)).status != 200:
            last.close()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for each in (second, third, last):
            each.close()


def test_client_that_does_not_read_is_dropped_and_others_go_on(
    port: int, listen: Open, send: Send, key: Headers
) -> None:
    stuck = socket.socket()
    stuck.settimeout(20)
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    stuck.connect(("127.0.0.1", port))
    head = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key['X-API-Key']}\r\n\r\n"
    stuck.sendall(head.encode())
    lively = listen()
    ready(lively)
    large = a_list("ann" * 1_000)
    n_sent = 3_000  # more than the buffers of both ends and the queue hold
    with ThreadPoolExecutor() as threads:
        threads.submit(send, *[large] * n_sent, rate=1_500)
        assert len(revisions(lively, n_sent)) == n_sent
    with pytest.raises(ConnectionResetError):
        read_all(stuck)
    stuck.close()


def read_all(connection: socket.socket) -> None:
    while connection.recv(1 << 20):
        """What was under way still comes."""


def test_broker_that_is_away_is_said_and_the_stream_goes_on(
    parts_over: Callable[..., StreamParts], settings: Settings, key: Headers
) -> None:
    requires(java_problem() is None, java_problem() or "")
    with streamed(parts_over(settings)) as port:
        listener: Any = Listener(port, key)
        assert listener.next("ready").data["problem"]
        bootstrap = ensure_kafka(settings)
        assert listener.next("fresh").data["problem"] is None
        send_lists(bootstrap, settings.live_topic, a_list("ann", 1))
        assert revisions(listener, 1) == [1]
        broker = running(kafka_service(settings))
        assert broker is not None
        broker.kill()
        assert "broker" in listener.next("stale").data["problem"]
        bootstrap = ensure_kafka(settings)
        send_lists(bootstrap, settings.live_topic, a_list("ann", 2))
        assert listener.next("fresh").name == "fresh"
        assert revisions(listener, 1) == [2]
        listener.close()
    stop_all(settings)
