"""Feedback: what is left out of lists from now on, for one user or for everybody."""

from flask import Response

from dashboards.access import require
from dashboards.api.answered import FeedbackOut, FeedbackRow
from dashboards.api.answers import answer
from dashboards.api.asked import FeedbackIn, FeedbackQuery, FeedbackTarget
from dashboards.api.asking import read_body, read_query
from dashboards.api.parts import parts
from dashboards.api.routing import route
from dashboards.problems import ProblemError
from recgraph.ports import FeedbackEntry

TAG = "Feedback"


@route("GET", "/feedback", scope="read", tag=TAG, query=FeedbackQuery, returns=FeedbackOut)
def read_feedback() -> Response:
    """What is left out of a user's lists; without `user_id`, of everybody's."""
    user_id = read_query(FeedbackQuery).user_id
    rows = [_row(entry) for entry in parts().feedback.entries(user_id)]
    return answer(FeedbackOut(user_id, rows))


@route(
    "POST",
    "/feedback",
    scope="write",
    tag=TAG,
    body=FeedbackIn,
    returns=FeedbackRow,
    status=201,
)
def add_feedback() -> Response:
    """Leave a product out of a user's lists, or of everybody's, from this moment.

    Without `user_id`, `hidden` takes the product out of all lists, which needs the scope
    `operate`.
    """
    said = read_body(FeedbackIn)
    if said.user_id is None:
        if said.kind != "hidden":
            detail = "not_interested is said for a user: name one in user_id."
            raise ProblemError(422, "invalid", detail, [{"field": "user_id", "detail": detail}])
        require("operate")
    entry = parts().feedback.add(said.kind, said.product_id, said.user_id)
    return answer(_row(entry), 201)


@route("DELETE", "/feedback", scope="write", tag=TAG, query=FeedbackTarget, status=204)
def remove_feedback() -> Response:
    """Take feedback back; 404 when there is none."""
    target = read_query(FeedbackTarget)
    if target.user_id is None:
        require("operate")
    if not parts().feedback.remove(target.product_id, target.user_id):
        detail = "there is no such feedback to take back."
        raise ProblemError(404, "unknown-feedback", detail)
    return Response(status=204)


def _row(entry: FeedbackEntry) -> FeedbackRow:
    return FeedbackRow(entry.kind, entry.item_id, entry.user_id, entry.at)
