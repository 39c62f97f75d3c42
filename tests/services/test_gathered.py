"""One read for all who wait: no answer older than its question, none lost, errors for everybody."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from recgraph.services.gathered import Gathered


class Source:
    """A store whose reads take as long as a test wants."""

    def __init__(self, error: Exception | None = None) -> None:
        self.value = 0
        self.reads: list[list[str]] = []
        self.may_end = threading.Semaphore(0)
        self._error = error

    def read(self, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
        value = self.value
        self.reads.append(list(keys))
        assert self.may_end.acquire(timeout=30)
        if self._error is not None:
            raise self._error
        return {key: (key, value) for key in keys if key != "nobody"}


def wait_until(is_reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_who_asks_during_a_read_waits_for_the_next_and_gets_what_is_new() -> None:
    source = Source()
    gathered: Gathered[str, tuple[str, int]] = Gathered(source.read)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(gathered.get, "a")
        wait_until(lambda: len(source.reads) == 1)
        source.value = 1
        later = [pool.submit(gathered.get, key) for key in ("b", "c", "a", "nobody")]
        wait_until(lambda: len(gathered._next.keys) == 4)
        source.may_end.release(2)
        assert first.result(30) == ("a", 0)
        answers = [each.result(30) for each in later]
    assert answers == [("b", 1), ("c", 1), ("a", 1), None]
    assert [sorted(keys) for keys in source.reads] == [["a"], ["a", "b", "c", "nobody"]]


def test_an_error_is_everybodys_who_waited_and_nobody_elses() -> None:
    source = Source(ConnectionError("away"))
    gathered: Gathered[str, tuple[str, int]] = Gathered(source.read)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(gathered.get, key) for key in "abc"]
        wait_until(lambda: len(source.reads) == 1)
        source.may_end.release(3)
        for each in asked:
            with pytest.raises(ConnectionError, match="away"):
                each.result(30)
    source._error = None
    source.may_end.release()
    assert gathered.get("d") == ("d", 0)


def test_many_threads_get_each_its_own() -> None:
    n_reads = 0

    def read(keys: Sequence[int]) -> dict[int, int]:
        nonlocal n_reads
        n_reads += 1
        time.sleep(0.002)
        return {key: 10 * key for key in keys}

    gathered = Gathered(read)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(gathered.get, range(400))) == [10 * key for key in range(400)]
    assert n_reads < 400
