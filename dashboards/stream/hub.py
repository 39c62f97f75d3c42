"""Messages -> the queues of those who listen; a queue that is full ends its stream.

Everything here runs in one event loop. A message is encoded once and shared by all queues, so that
a stream that waits costs little, and one that does not read costs at most ``max_waiting`` messages.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

EVERYBODY = None
"""In place of a user: a message that all get, or a stream of all users."""
_AT_ONCE = 64
"""Messages that are copied for one stream at a time."""


class Message(NamedTuple):
    """Bytes for whoever listens to a user, and for whoever listens to all."""

    user_id: str | None
    data: bytes


class FullHouse(Exception):
    """As many streams are open as may be."""


class Subscription:
    """What one stream still has to be sent.

    Parameters
    ----------
    user_id
        Whose messages; `EVERYBODY` for all.
    max_waiting
        Messages that may wait.
    on_slow
        Called when more would; nothing comes any more then.
    """

    def __init__(self, user_id: str | None, max_waiting: int, on_slow: Callable[[], None]) -> None:
        self.user_id = user_id
        self._max_waiting = max_waiting
        self._on_slow = on_slow
        self._waiting: deque[bytes] = deque()
        self._has_news = asyncio.Event()
        self._is_over = False

    def put(self, data: bytes) -> None:
        """Let a message wait for its turn."""
        if self._is_over:
            return
        if len(self._waiting) >= self._max_waiting:
            self.drop()
            return
        self._waiting.append(data)
        self._has_news.set()

    def drop(self) -> None:
        """Give up somebody who does not read."""
        self.end()
        self._on_slow()

    def end(self) -> None:
        """Send nothing any more."""
        self._is_over = True
        self._waiting.clear()
        self._has_news.set()

    async def chunks(self, heartbeat_s: float) -> AsyncIterator[bytes]:
        """Yield what waits, several messages in one piece; no bytes after a quiet while."""
        while not self._is_over:
            try:
                async with asyncio.timeout(heartbeat_s):
                    await self._has_news.wait()
            except TimeoutError:
                yield b""
                continue
            n_messages = min(_AT_ONCE, len(self._waiting))
            chunk = b"".join(self._waiting.popleft() for _ in range(n_messages))
            if not self._waiting and not self._is_over:
                self._has_news.clear()
            if chunk:
                yield chunk


class Hub:
    """Everybody who listens.

    Parameters
    ----------
    max_clients
        Streams that may be open at the same time.
    max_waiting
        Messages that may wait for one of them.
    """

    def __init__(self, max_clients: int, max_waiting: int = 2_000) -> None:
        self._max_clients = max_clients
        self._max_waiting = max_waiting
        self._listening: dict[str | None, set[Subscription]] = {}
        self.n_clients = 0
        self.n_slow = 0
        """Streams that were ended because they did not read."""

    @contextmanager
    def subscribe(
        self, user_id: str | None, on_slow: Callable[[], object] = lambda: None
    ) -> Iterator[Subscription]:
        """Give a subscription for as long as the block runs.

        Raises
        ------
        FullHouse
            As many streams are open as may be.
        """
        if self.n_clients >= self._max_clients:
            raise FullHouse

        def count() -> None:
            self.n_slow += 1
            on_slow()

        subscription = Subscription(user_id, self._max_waiting, count)
        self._listening.setdefault(user_id, set()).add(subscription)
        self.n_clients += 1
        try:
            yield subscription
        finally:
            self.n_clients -= 1
            self._remove(subscription)

    def publish(self, messages: Iterable[Message]) -> None:
        """Queue messages with everybody whom they are for."""
        for message in messages:
            for subscription in self._listeners(message.user_id):
                subscription.put(message.data)

    def close(self) -> None:
        """End all streams."""
        for subscription in self._listeners(EVERYBODY):
            subscription.end()

    def _listeners(self, user_id: str | None) -> list[Subscription]:
        if user_id is EVERYBODY:
            return [each for group in self._listening.values() for each in group]
        of_all, of_user = self._listening.get(EVERYBODY, ()), self._listening.get(user_id, ())
        return [*of_all, *of_user]

    def _remove(self, subscription: Subscription) -> None:
        group = self._listening[subscription.user_id]
        group.discard(subscription)
        if not group:
            del self._listening[subscription.user_id]
