"""Which generation is current -> its model, opened when first asked for and after a switch."""

import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from recgraph.errors import GenerationError, StoreUnavailable
from recgraph.generations import resolve
from recgraph.serving import Serving, open_serving

log = structlog.get_logger()


class Following:
    """The model of whatever generation is current; threads may share it.

    While another one is opened, the others wait: two models in memory are enough. While nobody
    knows which is current, it is the one that was.

    Parameters
    ----------
    root
        Folder of the generations.
    current
        Returns the id of the current one; called each time.
    """

    def __init__(self, root: Path, current: Callable[[], str]) -> None:
        self._root = root
        self._current = current
        self._lock = threading.Lock()
        self._opened: tuple[str, Serving | None] = "", None

    def __call__(self) -> Serving | None:
        """Return the model, or None when the generation's folder is not here or too old.

        Raises
        ------
        StoreUnavailable
            Nobody knows which generation is current, and no model was opened before.
        """
        known, serving = self._opened
        try:
            generation_id = self._current()
        except StoreUnavailable:
            if serving is None:
                raise
            return serving
        if known == generation_id:
            return serving
        with self._lock:
            if self._opened[0] != generation_id:
                self._opened = generation_id, self._open(generation_id)
            return self._opened[1]

    def _open(self, generation_id: str) -> Serving | None:
        try:
            return open_serving(resolve(self._root, generation_id))
        except GenerationError as error:
            log.warning("nothing can be computed", generation=generation_id, cause=str(error))
            return None
