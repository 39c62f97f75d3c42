"""Sales to send: each event once, 1 % of them again, and as many messages that are rubbish."""

import random
import threading
import time
from collections.abc import Iterable, Iterator

import msgspec
from kafka import KafkaProducer

Message = tuple[bytes, bytes]

_PATIENCE_MS = 600_000


def messages(n_events: int, seed: int) -> Iterator[Message]:
    """Keys and values; of every 100 events one is sent twice and followed by one of rubbish."""
    rng = random.Random(seed)
    for number in range(n_events):
        user_id = f"u{rng.randrange(500)}"
        event = {
            "event_id": f"e{number}",
            "user_id": user_id,
            "product_id": f"p{rng.randrange(2000)}",
            "quantity": 1,
            "occurred_at": "2020-01-01T00:00:00Z",
        }
        message = (user_id.encode(), msgspec.json.encode(event))
        yield message
        if number % 100 == 50:
            yield message
        if number % 100 == 99:
            yield (b"rubbish", f"rubbish {number}".encode())


class Replay:
    """A thread that sends messages in equal shares, each when it is asked for.

    Parameters
    ----------
    n_shares
        Shares that will be asked for.
    rate
        Messages a second within a share.
    """

    def __init__(
        self, bootstrap: str, topic: str, sent: Iterable[Message], *, n_shares: int, rate: float
    ) -> None:
        self._bootstrap, self._topic, self._rate = bootstrap, topic, rate
        self._messages = list(sent)
        self._share = -(-len(self._messages) // n_shares)
        self._asked = threading.Semaphore(0)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self._thread.start()

    def next_share(self) -> None:
        """Let the next share go out."""
        self._asked.release()

    def finish(self) -> None:
        """Send what is left; return when the broker has acknowledged each message.

        Raises
        ------
        KafkaError
            The broker has not taken one of them.
        """
        for _ in range(0, len(self._messages), self._share):
            self._asked.release()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._send()
        except Exception as error:
            self._error = error

    def _send(self) -> None:
        """Send; a broker that is away is waited for, so that each message arrives in the end."""
        producer = KafkaProducer(
            bootstrap_servers=self._bootstrap,
            linger_ms=20,
            delivery_timeout_ms=_PATIENCE_MS,
            max_block_ms=_PATIENCE_MS,
        )
        futures = []
        for start in range(0, len(self._messages), self._share):
            self._asked.acquire()
            started = time.monotonic()
            for number, (key, value) in enumerate(self._messages[start : start + self._share]):
                time.sleep(max(0.0, started + number / self._rate - time.monotonic()))
                futures.append(producer.send(self._topic, key=key, value=value))
        for future in futures:
            future.get(timeout=_PATIENCE_MS / 1000)
        producer.close()
