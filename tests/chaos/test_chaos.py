"""A short form of ``python -m tests.chaos``: each process is killed once."""

import pytest

from recgraph.config import Settings
from recgraph.machine import find_mongo_server
from tests.chaos.__main__ import Chaos
from tests.chaos.victims import Victims
from tests.conftest import java_problem, requires

pytestmark = [pytest.mark.services, pytest.mark.spark]


def test_every_event_is_there_once_whoever_is_killed(settings: Settings) -> None:
    requires(java_problem() is None, java_problem() or "")
    requires(find_mongo_server(), "the embedded MongoDB server is not installed")
    chaos = Chaos(settings, n_events=3000, n_kills=1, pause_s=3)
    summary = chaos.run(seed=3, max_s=1800)
    assert summary.problems == []
    assert summary.kills == dict.fromkeys(Victims.names, 1)
    assert (summary.accepted, summary.rejected) == (3000, 30)
