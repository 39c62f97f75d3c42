"""Sale events in: one as JSON, or many as NDJSON, one a line.

202 means that the broker has acknowledged every event that the answer calls accepted; what is not
sure is said with 503 and the ids under which to send it again, which count once.
"""

from collections.abc import Sequence

from flask import Response, request

from dashboards.api.answered import EventResult, EventsOut
from dashboards.api.answers import answer
from dashboards.api.asked import EventIn
from dashboards.api.asking import read_bytes
from dashboards.api.parts import parts
from dashboards.api.routing import route
from dashboards.problems import ProblemError
from recgraph.errors import SinkUnavailable
from recgraph.ports import Accepted, Outcome, Unconfirmed

JSON, NDJSON = "application/json", "application/x-ndjson"
MAX_LINES = 10_000
"""Events of one request."""
MAX_BULK_BYTES = 8 * 1024 * 1024
"""Longest NDJSON body."""


@route(
    "POST",
    "/events",
    scope="write",
    tag="Events",
    body=EventIn,
    returns=EventsOut,
    status=202,
    lines=True,
)
def events() -> Response:
    """Take sale events to the topic.

    `application/json` is one event, `application/x-ndjson` many, one a line. An event without
    `event_id` is given one. 202: each accepted event is on the topic, and each rejected one names
    its reason. 422: none was accepted. 503: some are not acknowledged; send those again under
    their ids.
    """
    messages = _messages()
    try:
        outcomes: Sequence[Outcome] = parts().sink.send([raw for _, raw in messages])
    except SinkUnavailable as error:
        raise _unavailable(error, [line for line, _ in messages]) from error
    results = [
        _result(line, outcome) for (line, _), outcome in zip(messages, outcomes, strict=True)
    ]
    n_accepted = sum(result.status == 202 for result in results)
    if not n_accepted:
        first = results[0]
        detail = f"none of {len(results)} is a sale event; line {first.line}: {first.reason}."
        raise ProblemError(422, "no-event", detail, list(results))
    return answer(EventsOut(n_accepted, len(results) - n_accepted, results), 202)


def _messages() -> list[tuple[int, bytes]]:
    """Return line number and bytes of each message; blank lines are none."""
    if request.mimetype != NDJSON:
        return [(1, read_bytes(JSON, NDJSON, max_bytes=parts().max_event_bytes))]
    lines = read_bytes(NDJSON, max_bytes=MAX_BULK_BYTES).split(b"\n")
    found = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise ProblemError(422, "no-event", "the body is empty; expected one event a line.")
    if len(found) > MAX_LINES:
        detail = f"found {len(found):,} lines, expected at most {MAX_LINES:,}; send several bodies."
        raise ProblemError(413, "too-large", detail)
    return found


def _result(line: int, outcome: Outcome) -> EventResult:
    if isinstance(outcome, Accepted):
        return EventResult(202, outcome.event_id, line)
    if isinstance(outcome, Unconfirmed):
        return EventResult(503, outcome.event_id, line)
    # What was found may hold half a character, which no JSON can.
    detail = outcome.detail.encode(errors="replace").decode()
    return EventResult(422, None, line, str(outcome.reason), detail)


def _unavailable(error: SinkUnavailable, lines: Sequence[int]) -> ProblemError:
    results = [_result(line, outcome) for line, outcome in zip(lines, error.outcomes, strict=True)]
    n_open = sum(result.status == 503 for result in results)
    detail = (
        f"{n_open} of {len(results)} events are not acknowledged. Send those of status 503 again, "
        "under the ids they were given."
    )
    headers = {"Retry-After": f"{max(1.0, error.retry_after_s):.0f}"}
    return ProblemError(503, "unacknowledged", detail, list(results), headers)
