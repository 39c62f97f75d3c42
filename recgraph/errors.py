"""The exceptions of recgraph, one tree.

::

    RecgraphError                 a person reads its message as one line
    ├── EventError                a message that is not a sale event (reason, raw)
    ├── InputError                a file, a column or an argument that cannot be used
    ├── ConfigError               a setting that cannot be used (setting)
    ├── ModelError
    │   ├── NotFittedError        a model was asked before it was trained
    │   ├── ColdStartError        nothing is known about this user or item
    │   └── NoInteractionsError   nothing is left to train on
    ├── GenerationError           a generation folder is missing, incomplete or unreadable
    ├── StoreError
    │   ├── StoreUnavailable      MongoDB does not answer
    │   └── NotPublished          no generation is current yet
    └── ServiceError              Kafka, MongoDB, Java or Spark cannot be started or reached
        ├── FeedGap               lists that were asked for again are gone from the topic
        └── SinkUnavailable       the broker has not acknowledged events (outcomes, retry_after_s)

Each message says what was found, what was expected and what to do next.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recgraph.ports import Outcome


class RecgraphError(Exception):
    """Base of every error that recgraph raises on purpose."""


class EventError(RecgraphError):
    """A message is not a sale event.

    Parameters
    ----------
    reason
        Machine-readable reason, one of `recgraph.events.Reason`.
    raw
        The bytes as they arrived.
    """

    def __init__(self, reason: str, raw: bytes) -> None:
        super().__init__(f"not a sale event: {reason}")
        self.reason = reason
        self.raw = raw


class InputError(RecgraphError):
    """A file, a column or an argument cannot be used."""


def unreadable(path: Path, error: OSError) -> InputError:
    """The error of a file that the system does not let one read."""
    cause = os.strerror(error.errno) if error.errno else error
    return InputError(f"{path} cannot be read: {cause}.")


class ConfigError(RecgraphError):
    """A setting cannot be used.

    Parameters
    ----------
    setting
        Its name, as the environment spells it (``RECGRAPH_K``).
    message
        What was found, what was expected, what to do.
    """

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}")
        self.setting = setting


class ModelError(RecgraphError):
    """A model cannot do what it was asked."""


class NotFittedError(ModelError):
    """A model was asked before it was trained."""


class ColdStartError(ModelError):
    """Nothing is known about this user or item."""


class NoInteractionsError(ModelError):
    """Nothing is left to train on."""


class GenerationError(RecgraphError):
    """A generation folder is missing, incomplete or unreadable."""


class StoreError(RecgraphError):
    """The store cannot answer."""


class StoreUnavailable(StoreError):
    """MongoDB does not answer."""


class NotPublished(StoreError):
    """No generation is current yet."""


class ServiceError(RecgraphError):
    """Kafka, MongoDB, Java or Spark cannot be started or reached."""


class FeedGap(ServiceError):
    """Lists that were asked for again are gone from the topic, or are too many."""


class SinkUnavailable(ServiceError):
    """The broker has not acknowledged all events that were sent.

    Parameters
    ----------
    outcomes
        What is known of each message, in order: `recgraph.ports.Accepted`,
        `recgraph.ports.Unconfirmed` or `recgraph.events.Rejection`.
    retry_after_s
        Seconds to wait before sending the unconfirmed ones again, under the same ids.
    """

    def __init__(self, message: str, outcomes: "Sequence[Outcome]", retry_after_s: float) -> None:
        super().__init__(message)
        self.outcomes = list(outcomes)
        self.retry_after_s = retry_after_s
