"""Where the dashboard and the API meet the store, the broker and the models: in each process."""

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from recgraph.cli.listening import find_stream
from recgraph.config import Settings

if TYPE_CHECKING:
    from flask import Flask

    from dashboards.auth import Links
    from dashboards.live import LiveParts
    from recgraph.services.connection import Connection
    from recgraph.services.door import Door

_OPENED = "recgraph_opened"
"""Where an application keeps what it has opened: without a holder it would be closed."""
_ANSWER_S = 5.0
"""Seconds that the store or the broker may take for an answer to one request."""


def make_server(settings: Settings, uri: str, links: "Links", hosts: list[str]) -> "Flask":
    """Return the application of one process; its connections stay open as long as that lives.

    Parameters
    ----------
    uri
        Of MongoDB, which need not answer yet.
    """
    from dashboards.auth import read_secret_key
    from dashboards.metrics import measure
    from recgraph.services.connection import open_connection

    stack = ExitStack()
    connection = stack.enter_context(
        open_connection(uri, settings.mongo_database, longest_s=_ANSWER_S, is_up=False)
    )
    key = read_secret_key(settings.data_dir / "dashboard" / "session.key")
    server = compose(settings, connection, secret_key=key, links=links, hosts=hosts)
    server.extensions[_OPENED] = stack
    if settings.serve_metrics_port is not None:
        measure(server)
    return server


def compose(
    settings: Settings,
    connection: "Connection",
    *,
    secret_key: bytes,
    links: "Links",
    hosts: list[str],
) -> "Flask":
    """Return the dashboard and the API over a connection."""
    from dashboards.api import ApiParts
    from dashboards.api.limiting import RateLimit
    from dashboards.app import create_app
    from recgraph.following import Following
    from recgraph.services.accounts import MongoAccounts
    from recgraph.services.door import Door
    from recgraph.services.feedback import ConsiderateStore, MongoFeedback
    from recgraph.services.publish import activate

    folder = settings.data_dir / "dashboard"
    feedback = MongoFeedback(connection, folder / "feedback.changed")
    store = ConsiderateStore(connection, feedback)
    root, keep = settings.generations_dir, settings.keep_generations
    door = Door(settings, timeout_s=_ANSWER_S)
    api = ApiParts(
        store=store,
        feedback=feedback,
        sink=door,
        activate=partial(activate, store, root, keep=keep),
        serving=Following(root, lambda: store.current().manifest.id),
        broker_problem=door.problem,
        max_event_bytes=settings.max_message_bytes,
        limit=RateLimit(max(1, settings.requests_per_minute // settings.workers)),
    )
    app = create_app(
        store,
        MongoAccounts(connection),
        secret_key=secret_key,
        links=links,
        hosts=hosts,
        public_url=settings.public_url,
        api=api,
        live=live_parts_of(settings, door),
        image_hosts=settings.image_hosts if settings.show_images else (),
    )
    server: Flask = app.server
    return server


def live_parts_of(settings: Settings, door: "Door") -> "LiveParts":
    """Return what the pages need that change by themselves."""
    from dashboards.live import LiveParts

    def stream_url() -> str | None:
        running = find_stream(settings)
        return None if running is None else running.url

    def live_problem() -> str | None:
        return door.problem() or _live_problem(settings)

    return LiveParts(door, stream_url, live_problem, settings.public_url)


def _live_problem(settings: Settings) -> str | None:
    """Return why nobody makes lists anew, as far as this machine knows."""
    from recgraph.live_status import read_statuses

    statuses = read_statuses(settings.live_status_dir)
    if not statuses:
        return "no `recgraph live` runs on this machine."
    problems = [status.problem for status in statuses]
    return None if None in problems else problems[0]
