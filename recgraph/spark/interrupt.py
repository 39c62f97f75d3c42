"""Ctrl-C while Spark runs: the JVM is ended first, then `KeyboardInterrupt` goes its way.

Spark's own handler asks the JVM to cancel its jobs amid a call that waits for an answer, and what
is cleared up afterwards would be written again by jobs that go on. Nothing of a session is worth
an orderly end: tables commit, and generations get their name, when all is written.
"""

import logging
import signal
import sys
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import psutil
from pyspark import SparkContext

_GONE_S = 10.0
"""Seconds that a killed process may take to be gone."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT end the JVM and then the block, by `KeyboardInterrupt` whatever came of it.

    Where somebody else has said what SIGINT does, that holds.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or not _is_main_thread():
        yield
        return
    pressed = threading.Event()
    older = set(psutil.Process().children())

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough: the process ends
        pressed.set()
        _silence_threads()
        _kill(_jvm(older))
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    except Exception:  # a call that is broken off raises what it likes
        if not pressed.is_set():
            raise
    finally:
        if not pressed.is_set():
            signal.signal(signal.SIGINT, before)
    if pressed.is_set():  # it was raised where Python ignores it, and the block ended even so
        raise KeyboardInterrupt


@contextmanager
def keeping_sigint() -> Iterator[None]:
    """Put the handler of SIGINT back that Spark replaces when it starts.

    Not where it was pressed meanwhile: the process is ending, and another one would break off what
    clears up.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        was_pressed = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        if _is_main_thread() and before is not None and not was_pressed:
            signal.signal(signal.SIGINT, before)


def quieten_py4j() -> None:
    """Keep the tracebacks of calls that were broken off out of standard error: errors say enough.

    py4j logs some of them on the root logger, whose first message makes it print all others too.
    """
    logging.getLogger("py4j").propagate = False
    logging.getLogger().addFilter(_is_not_of_py4j)


def is_jvm_alive(gateway: Any) -> bool:
    """Return whether there is anything left to stop."""
    process = getattr(gateway, "proc", None)
    return process is None or process.poll() is None


def _is_not_of_py4j(record: logging.LogRecord) -> bool:
    return "py4j" not in record.pathname


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _silence_threads() -> None:
    """Keep what is said of the JVM's end out of standard error: by its callers, and in finalizers.

    The process ends as well.
    """
    context = SparkContext._active_spark_context
    if context is not None:
        context._accumulatorServer.handle_error = lambda *_: None  # type: ignore[method-assign]
    sys.unraisablehook = lambda _: None


def _jvm(older: Collection[psutil.Process]) -> list[psutil.Process]:
    """Return the JVM; while it is launched, Spark does not know it yet, and it is our new child."""
    process = getattr(SparkContext._gateway, "proc", None)
    if process is None:
        return [each for each in psutil.Process().children() if each not in older]
    return [psutil.Process(process.pid)] if process.poll() is None else []


def _kill(parents: Iterable[psutil.Process]) -> None:
    """Kill processes and what they have started, and wait until they are gone."""
    found = []
    for parent in parents:
        with suppress(psutil.NoSuchProcess):
            found += [parent, *parent.children(recursive=True)]
    for each in found:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(found, timeout=_GONE_S)
