"""What every `recgraph.ports.EventSink` must do; an implementation inherits `EventSinkContract`.

It gives two fixtures: ``sink``, whose topic is empty at first, and ``delivered``, a function that
returns (partition, offset, value) of each message that is on the topic.
"""

import json
import math
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from recgraph.events import Reason, Rejection, SaleEvent
from recgraph.ports import Accepted, EventSink

Delivered = Callable[[], list[tuple[int, int, bytes]]]


def message(**changes: Any) -> bytes:
    """A good message with changes; ``...`` leaves a field out."""
    event = {
        "event_id": "e1",
        "user_id": "u",
        "product_id": "p",
        "quantity": 1,
        "occurred_at": "2020-01-01T00:00:00Z",
    }
    return json.dumps({k: v for k, v in (event | changes).items() if v is not ...}).encode()


class EventSinkContract:
    def test_accepted_events_are_there_as_they_were_sent(
        self, sink: EventSink, delivered: Delivered
    ) -> None:
        messages = [message(event_id=f"e{n}", user_id=f"u{n % 5}", shop="north") for n in range(50)]
        outcomes = sink.send(messages)
        assert [each.event_id for each in outcomes if isinstance(each, Accepted)] == [
            f"e{n}" for n in range(50)
        ]
        places = [(each.partition, each.offset) for each in outcomes if isinstance(each, Accepted)]
        assert dict(zip(places, messages, strict=True)) == {
            (partition, offset): value for partition, offset, value in delivered()
        }

    def test_good_and_bad_are_answered_in_order_and_only_good_ones_are_written(
        self, sink: EventSink, delivered: Delivered
    ) -> None:
        outcomes = sink.send(
            [b"rubbish", message(), b"", message(quantity="many"), message(event_id="e2"), b"[1]"]
        )
        assert [
            each.reason if isinstance(each, Rejection) else each.event_id for each in outcomes
        ] == [
            Reason.NOT_JSON,
            "e1",
            Reason.EMPTY,
            Reason.WRONG_TYPE,
            "e2",
            Reason.NOT_AN_OBJECT,
        ]
        values = sorted(value for _, _, value in delivered())
        assert values == [message(), message(event_id="e2")]

    def test_an_event_without_id_is_given_one_of_its_own(
        self, sink: EventSink, delivered: Delivered
    ) -> None:
        nameless = message(event_id=..., shop="north")
        outcomes = sink.send([nameless, nameless, message(event_id=None)])
        ids = [each.event_id for each in outcomes if isinstance(each, Accepted)]
        assert len({uuid.UUID(each) for each in ids}) == 3
        written = [json.loads(value) for _, _, value in delivered()]
        assert sorted(each["event_id"] for each in written) == sorted(ids)
        assert sum(each.get("shop") == "north" for each in written) == 2

    def test_sale_events_are_taken_beside_messages(
        self, sink: EventSink, delivered: Delivered
    ) -> None:
        event = SaleEvent("u 🥐", "p", 2.0, datetime(2020, 1, 1, tzinfo=UTC), "e1", 4.5)
        (outcome,) = sink.send([event])
        assert isinstance(outcome, Accepted)
        ((_, _, value),) = delivered()
        assert json.loads(value)["user_id"] == "u 🥐"

    @pytest.mark.parametrize(
        ("user_id", "quantity", "reason"),
        [
            ("", 1.0, Reason.EMPTY_ID),
            ("u" * 300, 1.0, Reason.ID_TOO_LONG),
            ("\ud800", 1.0, Reason.NOT_JSON),
            ("u", math.nan, Reason.MISSING_FIELD),  # JSON has no NaN
        ],
    )
    def test_sale_events_are_validated_as_messages_are(
        self, sink: EventSink, delivered: Delivered, user_id: str, quantity: float, reason: Reason
    ) -> None:
        (outcome,) = sink.send(
            [SaleEvent(user_id, "p", quantity, datetime(2020, 1, 1, tzinfo=UTC))]
        )
        assert isinstance(outcome, Rejection)
        assert outcome.reason == reason
        assert delivered() == []

    def test_nothing_is_answered_with_nothing(self, sink: EventSink) -> None:
        assert sink.send([]) == []
        assert sink.send(iter([])) == []

    def test_threads_share_a_sink(self, sink: EventSink, delivered: Delivered) -> None:
        def send(number: int) -> list[Accepted | Rejection]:
            return sink.send([message(event_id=f"{number}-{n}") for n in range(20)])

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(send, range(8)))
        places = {
            (a.partition, a.offset) for answer in answers for a in answer if isinstance(a, Accepted)
        }
        assert len(places) == len(delivered()) == 160
