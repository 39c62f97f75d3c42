"""What `recgraph tune` found: one file in the data folder, used by the next training.

A setting of the environment or of recgraph.toml goes before a tuned one, and a tuned one before
the default.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from recgraph.config import Settings
from recgraph.errors import InputError
from recgraph.whole import write_whole

_CONDITIONS = ("train_on", "feedback", "engine", "exclude_seen")
"""Settings that a search is for: with others its result says nothing."""


class TunedTrial(msgspec.Struct, frozen=True):
    """One try of a search."""

    value: float
    seconds: float
    settings: dict[str, Any]


class Tuned(msgspec.Struct, frozen=True):
    """What a search found, on what, and how it went."""

    created_at: datetime
    measure: str
    """What was measured, such as ``nDCG@10 of new items`` or ``RMSE``."""
    value: float
    """What the best settings reached on the validation period."""
    value_before: float
    """What the settings before the search reached on it."""
    settings: dict[str, Any]
    """The best settings, by their names."""
    conditions: dict[str, Any]
    """The settings that the search was for."""
    on: dict[str, Any]
    """How many users, items and interactions there were, and which days were foretold."""
    seconds: float
    trials: list[TunedTrial]
    """In the order they were made."""

    @property
    def is_better(self) -> bool:
        """Whether the best settings are worth a change: less than half a percent is chance."""
        if self.measure == "RMSE":
            return self.value < self.value_before * (1 - _LEAST_GAIN)
        return self.value > self.value_before * (1 + _LEAST_GAIN)


_LEAST_GAIN = 0.005


class Applied(NamedTuple):
    """The settings of a training, and a line that says where they are from."""

    settings: Settings
    note: str | None


def conditions_of(settings: Settings) -> dict[str, Any]:
    """The settings that a search is for."""
    return {name: getattr(settings, name) for name in _CONDITIONS}


def read_tuned(path: Path) -> Tuned | None:
    """What the last search found; None when there was none.

    Raises
    ------
    InputError
        The file is damaged.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Tuned)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        message = f"{path} cannot be read: {error}. `recgraph tune --forget` removes it."
        raise InputError(message) from error


def write_tuned(path: Path, tuned: Tuned) -> None:
    """Write the file whole, or leave the old one."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(tuned), indent=2) + b"\n")


def forget_tuned(path: Path) -> bool:
    """Remove the file; whether there was one."""
    found = path.exists()
    path.unlink(missing_ok=True)
    return found


def with_tuned(settings: Settings) -> Applied:
    """The settings with the tuned ones, where nobody gave another value.

    Raises
    ------
    InputError
        The file is damaged.
    """
    tuned = read_tuned(settings.tuned_path)
    if tuned is None:
        return Applied(settings, None)
    when = f"{tuned.created_at:%Y-%m-%d %H:%M} UTC"
    other = [
        f"{name}={value}"
        for name, value in tuned.conditions.items()
        if value != getattr(settings, name)
    ]
    if other:
        return Applied(settings, f"not using the settings tuned {when} for {', '.join(other)}")
    used = {
        name: value
        for name, value in tuned.settings.items()
        if name in Settings.model_fields and name not in settings.model_fields_set
    }
    named = ", ".join(f"{name} {_short(value)}" for name, value in used.items())
    note = f"using the settings tuned {when}: {named or 'none, all are set by hand'}"
    return Applied(settings.model_copy(update=used), note)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
