"""Many who listen at once: is every list delivered to all, how late, and in how much memory.

``python -m tests.benchmarks.bench_stream [--clients 200] [--rate 50] [--seconds 20]``. It starts a
broker and a MongoDB server of its own, `recgraph stream` in its own process, and opens the streams
from this one, over sockets. Each list is of ten rows with reasons, some 4 kB, and carries the time
at which it was handed to the broker; a delay goes from there to the moment that a client has read
the whole event. The client's own work is part of it: it shares the machine.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import aiohttp
import msgspec
import numpy as np
import psutil
import typer

from recgraph.config import Settings, load_settings
from recgraph.ports import Freshness, Reason, Recommendations, Recommended
from recgraph.services import embedded, kafka
from recgraph.services.accounts import MongoAccounts
from recgraph.services.connection import open_connection

_COMPUTED_AT = b'"computed_at":"'


def main(
    clients: Annotated[int, typer.Option(help="Streams open at once, of all users.")] = 200,
    rate: Annotated[float, typer.Option(help="Lists a second.")] = 50,
    seconds: Annotated[float, typer.Option(help="How long they come.")] = 20,
) -> None:
    """Measure, and print one JSON object."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=Path(folder))
        bootstrap, uri = embedded.ensure_kafka(settings), embedded.ensure_mongo(settings)
        try:
            with (
                open_connection(uri, settings.mongo_database) as connection,
                streaming(settings, clients) as (process, url),
            ):
                key = MongoAccounts(connection).keys.add("bench", ("read",), None)[1]
                found = asyncio.run(
                    measure(process, url, key, bootstrap, settings, clients, rate, seconds)
                )
        finally:
            embedded.stop_all(settings)
    typer.echo(msgspec.json.encode(found).decode())


@contextmanager
def streaming(settings: Settings, clients: int) -> Iterator[tuple[psutil.Process, str]]:
    """Run `recgraph stream`; give its process and its address."""
    changes = {"RECGRAPH_DATA_DIR": str(settings.data_dir), "RECGRAPH_STREAM_CLIENTS": str(clients)}
    command = [sys.executable, "-m", "recgraph.cli", "stream", "--port", "0", "--json"]
    process = subprocess.Popen(command, env=os.environ | changes, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield psutil.Process(process.pid), json.loads(process.stdout.readline())["url"]
    finally:
        process.terminate()
        process.wait(30)


async def measure(
    process: psutil.Process,
    url: str,
    key: str,
    bootstrap: str,
    settings: Settings,
    n_clients: int,
    rate: float,
    seconds: float,
) -> dict[str, object]:
    """Return what became of the lists."""
    n_lists = int(rate * seconds)
    empty_mb = await memory_mb(process)
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"X-API-Key": key}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        ready = asyncio.Semaphore(0)
        reading = [
            asyncio.create_task(read(session, url, n_lists, ready)) for _ in range(n_clients)
        ]
        for _ in range(n_clients):
            await ready.acquire()
        quiet_mb, cpu_s = await memory_mb(process), sum(process.cpu_times()[:2])
        sending = asyncio.to_thread(send, bootstrap, settings.live_topic, n_lists, rate)
        _, pending = await asyncio.wait(
            [asyncio.create_task(sending), *reading], timeout=seconds + 60
        )
        for task in pending:
            task.cancel()
        delays = [delay for task in reading if task.done() for delay in task.result()]
        n_whole = sum(task.done() and len(task.result()) == n_lists for task in reading)
    p50, p95, p99, most = np.percentile(delays, [50, 95, 99, 100]).round(1).tolist()
    return {
        "clients": n_clients,
        "lists_per_s": rate,
        "lists": n_lists,
        "clients_with_all": n_whole,
        "deliveries_per_s": round(len(delays) / seconds),
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "max_ms": most,
        "memory_mb": {"empty": empty_mb, "open": quiet_mb, "after": await memory_mb(process)},
        "cpu_share": round((sum(process.cpu_times()[:2]) - cpu_s) / seconds, 2),
        "load_average": os.getloadavg()[0],
    }


async def read(
    session: aiohttp.ClientSession, url: str, n_lists: int, ready: asyncio.Semaphore
) -> list[float]:
    """Return the milliseconds that each list took to come here."""
    delays: list[float] = []
    rest = b""
    timeout = aiohttp.ClientTimeout(total=None)
    async with session.get(url, timeout=timeout) as answer:
        answer.raise_for_status()
        ready.release()
        async for data in answer.content.iter_any():
            *events, rest = (rest + data).split(b"\n\n")
            now = datetime.now(UTC).timestamp()
            delays += [1000 * (now - sent_at(each)) for each in events if _COMPUTED_AT in each]
            if len(delays) >= n_lists:
                break
    return delays


def sent_at(event: bytes) -> float:
    """Return when a list was sent, without reading the rest of it."""
    start = event.index(_COMPUTED_AT) + len(_COMPUTED_AT)
    return datetime.fromisoformat(event[start : event.index(b'"', start)].decode()).timestamp()


def send(bootstrap: str, topic: str, n_lists: int, rate: float) -> None:
    """Send lists at a rate, each with the time at which it is sent."""
    messages = ((f"u{n}".encode(), msgspec.json.encode(a_list(n))) for n in range(n_lists))
    delivery = kafka.produce(bootstrap, topic, messages, rate=rate)
    assert delivery.acknowledged == n_lists, delivery


def a_list(number: int) -> Recommendations:
    """Return a list as `live` makes them."""
    because = [Reason(f"{n}00{n}", 0.01 * n, f"Bought product no {n}, 12 OZ") for n in range(3)]
    parts = {"als": 0.25, "walk": 0.2}
    rows = [
        Recommended(f"10{n}9", n, 0.45, parts, "als+walk", f"Product no {n}, 16 OZ", "D", because)
        for n in range(1, 11)
    ]
    made = Freshness("20260105-120000-5a3e", "live", datetime.now(UTC), revision=number)
    return Recommendations(f"u{number}", rows, made)


async def memory_mb(process: psutil.Process) -> float:
    """Return the memory of the process that is its own, in MiB."""
    await asyncio.sleep(1.0)
    return round(process.memory_full_info().uss / 2**20, 1)


if __name__ == "__main__":
    typer.run(main)
