"""The application of the stream on a socket, until somebody says stop."""

import asyncio
import socket
from collections.abc import Callable

from aiohttp import web

from dashboards.stream.app import Stream, StreamParts

_GRACE_S = 2.0
"""Seconds that streams have to end."""
_SEND_BUFFER_BYTES = 256 * 1024
"""What the system holds for one client that does not read; by itself it would hold megabytes."""


async def run_stream(
    parts: StreamParts,
    listener: socket.socket,
    stop: asyncio.Event,
    on_start: Callable[[Stream], None] = lambda stream: None,
) -> None:
    """Answer on ``listener`` until ``stop`` is set; whatever ends the feed is raised.

    Parameters
    ----------
    on_start
        Called with the stream before it answers.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    stream = Stream(parts)
    on_start(stream)
    runner = web.AppRunner(
        stream.application(),
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,  # a stream that nobody reads any more ends at once
        shutdown_timeout=_GRACE_S,
    )
    await runner.setup()
    await web.SockSite(runner, listener).start()
    following = asyncio.create_task(stream.follow())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        stream.close()
        await runner.cleanup()
        await following
