"""What only Kafka and MongoDB know: how far the topic goes, which generation is current.

Settings -> `Surroundings`. Nothing is started, and what does not answer is a line, not an error:
the rest is still worth knowing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec

from recgraph.config import Settings
from recgraph.errors import NotPublished, RecgraphError, ServiceError, StoreUnavailable
from recgraph.services import kafka
from recgraph.services.embedded import find_kafka, find_mongo
from recgraph.services.mongo import open_store
from recgraph.status import Intake, lag_by_partition


class Current(msgspec.Struct, frozen=True):
    """The current generation, and how old it is."""

    id: str
    created_at: datetime
    age_s: float


class Surroundings(msgspec.Struct):
    """What the services say; a service that does not answer is named among the problems."""

    lag: dict[str, int] | None = None
    """Partition -> messages that are not in the event tables yet; None without Kafka."""
    generation: Current | None = None
    """None without MongoDB, and before the first publish."""
    problems: dict[str, str] = {}
    """Service -> why it does not answer."""


def look_around(settings: Settings, intake: Intake | None) -> Surroundings:
    """Return what the services say.

    Parameters
    ----------
    intake
        How far the topic is read; None when it never was.
    """
    found = Surroundings()
    with _noting(found.problems, "kafka"):
        found.lag = _lag(settings, intake)
    with _noting(found.problems, "mongodb"):
        found.generation = _current(settings)
    return found


@contextmanager
def _noting(problems: dict[str, str], service: str) -> Iterator[None]:
    try:
        yield
    except RecgraphError as error:
        problems[service] = str(error)


def _lag(settings: Settings, intake: Intake | None) -> dict[str, int]:
    bootstrap = find_kafka(settings)
    if bootstrap is None:
        message = "the embedded broker does not run; `recgraph up` starts it."
        raise ServiceError(message)
    extent = kafka.read_extent(bootstrap, settings.topic)
    is_read = intake is not None and intake.topic_id == extent.topic_id
    next_offsets = intake.next_offsets if intake is not None and is_read else {}
    return lag_by_partition(extent.starts, extent.ends, next_offsets)


def _current(settings: Settings) -> Current | None:
    uri = find_mongo(settings)
    if uri is None:
        message = "the embedded server does not run; `recgraph up` starts it."
        raise StoreUnavailable(message)
    with open_store(uri, settings.mongo_database) as store:
        try:
            manifest = store.current().manifest
        except NotPublished:
            return None
    age_s = (datetime.now(UTC) - manifest.created_at).total_seconds()
    return Current(manifest.id, manifest.created_at, round(age_s, 1))
