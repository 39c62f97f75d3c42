"""Who gets which message, and what becomes of somebody who does not read."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dashboards.stream.hub import EVERYBODY, FullHouse, Hub, Message


def run_apart(work: Coroutine[Any, Any, Any]) -> Any:
    """What the work gives; in a thread, for the browser's tests keep a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def taken(chunks: AsyncIterator[bytes]) -> bytes:
    return await asyncio.wait_for(anext(chunks), 5)


def test_messages_reach_the_user_and_whoever_listens_to_all() -> None:
    async def run() -> None:
        hub = Hub(10)
        with hub.subscribe("ann") as ann, hub.subscribe("bob") as bob, hub.subscribe(None) as all_:
            hub.publish([Message("ann", b"1"), Message("bob", b"2"), Message("carl", b"3")])
            hub.publish([Message(EVERYBODY, b"!")])
            assert await taken(ann.chunks(5)) == b"1!"
            assert await taken(bob.chunks(5)) == b"2!"
            assert await taken(all_.chunks(5)) == b"123!"
        assert hub.n_clients == 0
        assert hub._listening == {}

    run_apart(run())


def test_quiet_stream_has_a_heartbeat() -> None:
    async def run() -> None:
        with Hub(1).subscribe(None) as quiet:
            assert await taken(quiet.chunks(0.01)) == b""

    run_apart(run())


def test_reader_that_is_slow_is_dropped_and_the_others_are_not() -> None:
    async def run() -> list[str]:
        hub, dropped = Hub(10, max_waiting=3), list[str]()
        with (
            hub.subscribe(None, lambda: dropped.append("slow")) as slow,
            hub.subscribe(None, lambda: dropped.append("fast")) as fast,
        ):
            chunks = fast.chunks(5)
            for number in range(9):
                hub.publish([Message(None, str(number).encode())])
                if number % 2:
                    assert len(await taken(chunks)) == 2
            assert [chunk async for chunk in slow.chunks(5)] == []
            assert await taken(chunks) == b"8"
        assert hub.n_slow == 1
        return dropped

    assert run_apart(run()) == ["slow"]


def test_house_that_is_full_takes_nobody_until_somebody_leaves() -> None:
    async def run() -> None:
        hub = Hub(1)
        with hub.subscribe(None), pytest.raises(FullHouse), hub.subscribe("ann"):
            pass
        with hub.subscribe("ann"):
            assert hub.n_clients == 1

    run_apart(run())


def test_closed_hub_ends_all_streams() -> None:
    async def run() -> None:
        hub = Hub(2)
        with hub.subscribe(None) as one, hub.subscribe("ann") as other:
            hub.close()
            assert [chunk async for chunk in one.chunks(5)] == []
            assert [chunk async for chunk in other.chunks(5)] == []

    run_apart(run())
