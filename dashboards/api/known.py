"""What is known of a user and a generation: by the store or, while it is away, from before.

Each answer comes with whether it is stale.
"""

from typing import NamedTuple

from dashboards.api.parts import ApiParts
from dashboards.problems import ProblemError
from recgraph import ports
from recgraph.errors import StoreUnavailable
from recgraph.serving import Serving
from recgraph.weighing import Events

_CURRENT = "current"


class Stored(NamedTuple):
    """What the store has of a user."""

    generation: str
    k: int
    """The length of lists that the generation was trained for."""
    excludes_seen: bool
    found: ports.Recommendations | None
    """None for a user that nothing is known of."""


def ask_stored(here: ApiParts, user_id: str) -> tuple[Stored, bool]:
    """Return what the store has of a user, and whether that is only what it last had."""
    return here.known.ask(user_id, Stored, lambda: _stored(here, user_id))


def _stored(here: ApiParts, user_id: str) -> Stored:
    manifest = here.store.current().manifest
    k, excludes_seen = int(str(manifest.settings["k"])), manifest.settings.get("exclude_seen", True)
    return Stored(manifest.id, k, bool(excludes_seen), here.store.recommendations(user_id))


def read_history(here: ApiParts, serving: Serving, user_id: str) -> tuple[Events, bool]:
    """Return the user's events, and whether some may be missing.

    They are what the generation has seen, and what came since, as far as the store or this process
    knows it.
    """
    try:
        stored, is_stale = ask_stored(here, user_id)
    except StoreUnavailable:
        return serving.history(user_id), True
    if stored.found is None or stored.generation != serving.manifest.id:
        return serving.history(user_id), is_stale
    return serving.history(user_id, stored.found.events), is_stale


def read_generation(here: ApiParts) -> tuple[str, bool]:
    """Return which generation is current, and whether that is only what was known last."""
    return here.known.ask((_CURRENT,), str, lambda: here.store.current().manifest.id)


def read_serving(here: ApiParts) -> tuple[Serving, bool]:
    """Return the model, and whether it is only the one that was current last."""
    generation, is_stale = read_generation(here)
    serving = here.serving()
    if serving is None:
        detail = (
            f"the folder of generation {generation} is not on this machine; "
            "stored lists are served, but nothing can be computed. Train or copy it here."
        )
        raise ProblemError(503, "no-model", detail, headers={"Retry-After": "60"})
    return serving, is_stale
