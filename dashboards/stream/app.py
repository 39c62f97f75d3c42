"""A feed -> ``GET /api/v1/stream``: the application of `recgraph stream`.

A stream ends when its session or key does, when it does not read, and when the process is told to
stop; the browser then comes back by itself, with the id of the last event it has.
"""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from dashboards.problems import CONTENT_TYPE, Problem
from dashboards.stream.access import RETRY_AFTER_S, Guard, Refused
from dashboards.stream.hub import FullHouse, Hub, Message, Subscription
from dashboards.stream.messages import HEARTBEAT, Excluded, State, gap, messages_of
from recgraph.errors import ServiceError, StoreUnavailable
from recgraph.ports import News, RecommendationFeed

log = structlog.get_logger()

PATH = "/api/v1/stream"
_RECONNECT_MS = 1_000
"""Milliseconds after which a browser comes back."""
_SEND_S = 20.0
"""Seconds that a client may take no bytes at all."""
_FIRST_NEWS_S = 10.0
"""Seconds that somebody who comes back waits for a feed that has only just started."""
_MAX_ID_LENGTH = 1024
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}


@dataclass(frozen=True)
class StreamParts:
    """What the stream is made of."""

    feed: RecommendationFeed
    excluded: Excluded
    guard: Guard
    max_clients: int
    heartbeat_s: float = 10.0
    """Seconds without an event after which a stream says that it is alive; as often, who reads it
    is looked at anew."""


class Stream:
    """The application, and the thread that follows the feed."""

    def __init__(self, parts: StreamParts) -> None:
        self.hub = Hub(parts.max_clients)
        self.n_lists = 0
        """Lists that came."""
        self._parts = parts
        self._state = State()
        self._first_position: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stop = threading.Event()
        # One by one: whoever comes back reads the topic again.
        self._past = ThreadPoolExecutor(1)

    def application(self) -> web.Application:
        """Return the routes behind their guard."""
        app = web.Application(middlewares=[self._answer])
        app.router.add_get(PATH, self._stream, allow_head=False)
        app.router.add_get("/healthz", _healthz)
        app.on_response_prepare.append(self._add_headers)
        return app

    async def follow(self) -> None:
        """Pass the feed on until `close`."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._follow, loop)

    @property
    def problem(self) -> str | None:
        """Why no list comes at the moment."""
        return self._state.problem

    def close(self) -> None:
        """End all streams."""
        self._stop.set()
        self.hub.close()
        self._past.shutdown(wait=False, cancel_futures=True)

    # --- the feed -------------------------------------------------------------------------------

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        for news in self._parts.feed.news(self._stop):
            messages = self._messages_of(news)
            loop.call_soon_threadsafe(self._take, news, messages)

    def _messages_of(self, news: News) -> list[Message]:
        while not self._stop.is_set():
            try:
                return messages_of(news.lists, self._parts.excluded)
            except StoreUnavailable as error:  # better late than with what somebody has hidden
                log.warning("lists wait for the store", cause=str(error))
                self._stop.wait(1.0)
        return []

    def _take(self, news: News, messages: list[Message]) -> None:
        if news.problem is not None and news.problem != self._state.problem:
            log.warning("lists do not come", cause=news.problem)
        self.hub.publish(self._state.follow(news))
        self.hub.publish(messages)
        self.n_lists += len(news.lists)
        if news.position and not self._first_position.done():
            self._first_position.set_result(news.position)

    # --- a stream -------------------------------------------------------------------------------

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        user_id, after = _asked(request)
        with self._subscribed(request, user_id) as subscription:
            until = self._state.position
            response = web.StreamResponse(headers=_HEADERS)
            await response.prepare(request)
            start = f"retry: {_RECONNECT_MS}\n".encode()
            if after:
                start += await self._missed(after, until, user_id)
            try:
                await _send(response, start + self._state.hello(until))
                await self._go_on(request, response, subscription)
            except TimeoutError:
                subscription.drop()
        return response

    async def _go_on(
        self, request: web.Request, response: web.StreamResponse, subscription: Subscription
    ) -> None:
        """Send what comes, as long as the client takes it and may have it."""
        every_s = self._parts.heartbeat_s
        check_at = time.monotonic() + every_s
        async for chunk in subscription.chunks(every_s):
            if time.monotonic() >= check_at:
                if not await self._parts.guard.is_still_in(request):
                    return
                check_at = time.monotonic() + every_s
            await _send(response, chunk or HEARTBEAT)

    @contextmanager
    def _subscribed(self, request: web.Request, user_id: str | None) -> Iterator[Subscription]:
        def drop() -> None:
            log.info("a client that does not read was dropped", client=request.remote)
            if request.transport is not None:
                _reset(request.transport)

        try:
            with self.hub.subscribe(user_id, drop) as subscription:
                yield subscription
        except FullHouse:
            detail = (
                f"{self._parts.max_clients} streams are open, as many as may be "
                f"(RECGRAPH_STREAM_CLIENTS). Try again in {RETRY_AFTER_S} seconds."
            )
            raise Refused(503, "full", detail) from None

    async def _missed(self, after: str, until: str, user_id: str | None) -> bytes:
        """Return the events between two positions, or that nobody can tell."""
        feed, loop = self._parts.feed, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_FIRST_NEWS_S):
                until = until or await asyncio.shield(self._first_position)
            lists = await loop.run_in_executor(self._past, feed.between, after, until, user_id)
            messages = await asyncio.to_thread(messages_of, lists, self._parts.excluded)
        except (ServiceError, StoreUnavailable, TimeoutError) as error:
            return gap(str(error), until)
        return b"".join(message.data for message in messages)

    # --- answers --------------------------------------------------------------------------------

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in who may pass; whatever else goes wrong is a problem document."""
        try:
            await self._parts.guard.admit(request)
            return await handler(request)
        except Refused as error:
            return _problem(request, error)
        except web.HTTPException as error:
            detail = f"there is nothing here for this; expected GET {PATH}."
            return _problem(request, Refused(error.status, "unknown-path", detail))

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        origin = self._parts.guard.origin_of(request)
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Vary"] = "Origin"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"


def _asked(request: web.Request) -> tuple[str | None, str]:
    """Return whose lists are asked for, None for everybody's, and the position to go on after."""
    query = request.query
    unknown = sorted(set(query) - {"user", "after"})
    if unknown:
        detail = f"found the parameter {unknown[0][:40]!r}; expected user, after or none."
        raise Refused(422, "invalid", detail)
    user_id = query.get("user")
    if user_id is not None and not 0 < len(user_id) <= _MAX_ID_LENGTH:
        detail = f"user has {len(user_id)} characters, expected 1 to {_MAX_ID_LENGTH}."
        raise Refused(422, "invalid", detail)
    return user_id, request.headers.get("Last-Event-ID") or query.get("after", "")


async def _send(response: web.StreamResponse, data: bytes) -> None:
    """Return when the client takes the bytes; one that takes none for long is gone."""
    async with asyncio.timeout(_SEND_S):
        await response.write(data)


def _reset(transport: asyncio.Transport) -> None:
    """Close a connection together with what the system still holds for it."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _problem(request: web.Request, error: Refused) -> web.Response:
    title = HTTPStatus(error.status).phrase
    path = request.path.encode(errors="replace").decode()[:200]
    document = Problem(f"urn:recgraph:{error.kind}", title, error.status, str(error), path)
    headers = {"Cache-Control": "no-store"}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="recgraph"'
    if error.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    body = msgspec.json.encode(document)
    return web.Response(body=body, status=error.status, content_type=CONTENT_TYPE, headers=headers)


async def _healthz(request: web.Request) -> web.Response:
    del request
    return web.Response(status=204)
