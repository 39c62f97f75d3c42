"""Which generations there are and which is current; whether the service is well."""

from flask import Response

from dashboards.api.answered import GenerationOut, GenerationsOut, Health, Readiness
from dashboards.api.answers import answer
from dashboards.api.parts import ApiParts, parts
from dashboards.api.routing import route
from dashboards.problems import RETRY_AFTER_S, ProblemError
from recgraph.errors import GenerationError, NotPublished, StoreError, StoreUnavailable
from recgraph.ports import Published


@route("GET", "/generations", scope="read", tag="Generations", returns=GenerationsOut)
def generations() -> Response:
    """The generations that the store holds, newest first."""
    return answer(GenerationsOut([_out(each) for each in parts().store.generations()]))


@route(
    "POST",
    "/generations/<id:generation>/activate",
    scope="operate",
    tag="Generations",
    returns=GenerationOut,
)
def activate(generation: str) -> Response:
    """Make a generation current that the store holds: readers see it within a second."""
    here = parts()
    held = {each.manifest.id for each in here.store.generations()}
    if generation not in held:
        detail = "the store holds no such generation; `recgraph publish ID` brings it there."
        raise ProblemError(404, "unknown-generation", detail)
    try:
        here.activate(generation)
    except StoreUnavailable:
        raise
    except (GenerationError, StoreError) as error:
        raise ProblemError(409, "not-activated", str(error)) from error
    current = {each.manifest.id: each for each in here.store.generations()}
    return answer(_out(current[generation]))


@route("GET", "/health", scope=None, tag="Service", returns=Health)
def health() -> Response:
    """The process answers; it asks nobody else."""
    return answer(Health())


@route("GET", "/ready", scope=None, tag="Service", returns=Readiness)
def ready() -> Response:
    """Whether everything is there that the API needs; 503 says which part is away."""
    state = _state(parts())
    away = [{"part": name, "detail": said} for name, said in state.items() if said != "ok"]
    if away:
        detail = f"away: {', '.join(each['part'] for each in away)}."
        raise ProblemError(503, "not-ready", detail, away, {"Retry-After": str(RETRY_AFTER_S)})
    return answer(Readiness(True, state))


def _state(here: ApiParts) -> dict[str, str]:
    """Return ``ok`` or what is wrong of each part, without addresses: this route is open."""
    state = {"store": "ok", "generation": "ok", "broker": "ok"}
    try:
        here.store.ping()
        here.store.current()
    except NotPublished:
        state["generation"] = "none is published"
    except StoreError:
        state |= {"store": "does not answer", "generation": "unknown"}
    if here.broker_problem() is not None:
        state["broker"] = "does not answer"
    return state


def _out(published: Published) -> GenerationOut:
    manifest = published.manifest
    return GenerationOut(
        id=manifest.id,
        is_current=published.is_current,
        created_at=manifest.created_at,
        published_at=published.published_at,
        status=manifest.status,
        model=manifest.metrics.model if manifest.metrics else None,
        users=manifest.counts.users,
        products=manifest.counts.items,
        events=manifest.counts.events,
    )
