"""How long each stage of a job took, and a line for the person who waits."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Notify = Callable[[str], None]


class Stages:
    """The stages of one job, in order.

    Parameters
    ----------
    notify
        Called with a stage's description when it begins.
    """

    def __init__(self, notify: Notify = lambda line: None) -> None:
        self.seconds: dict[str, float] = {}
        """Stage -> seconds it took."""
        self._notify = notify

    @contextmanager
    def __call__(self, name: str, description: str) -> Iterator[None]:
        """Time the block as stage ``name``; a stage that is entered again adds up."""
        self._notify(description)
        started = time.monotonic()
        try:
            yield
        finally:
            spent = self.seconds.get(name, 0.0) + time.monotonic() - started
            self.seconds[name] = round(spent, 2)
