"""Fixtures of all tests: settings of a test's own, and the real services, started once a run.

A service comes up when the first test asks for it. What this machine cannot do is skipped with
its reason; with ``CI_REQUIRES_ALL`` set, as ``.ci/run`` does, it fails instead.
"""

import importlib.util
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from recgraph.config import PREFIX, Settings, load_settings
from recgraph.errors import ServiceError
from recgraph.machine import find_java, find_mongo_server

if TYPE_CHECKING:  # a test of the pure core does not wait for the clients of services
    from pymongo.database import Database

# Machines that run tests are noisy: a slow example is no finding.
hypothesis.settings.register_profile(
    "recgraph", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("recgraph")

# A console that is made with this in sight keeps that width, whatever a test asks for.
os.environ.pop("COLUMNS", None)

# Jars are downloaded once for all runs: the one setting that a test takes from its caller.
_CACHE_DIR = load_settings().cache_dir

# A JVM of the tests lives for minutes: the second compiler takes a third of its CPU time, which it
# does not earn back. Without it the code cache is 48 MB, too small for Spark.
_JVM = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m"


def requires(condition: object, reason: str) -> None:
    """Skip the test unless the condition holds; fail it where CI must have everything."""
    if condition:
        return
    if os.environ.get("CI_REQUIRES_ALL"):
        pytest.fail(f"CI must have everything, but: {reason}")
    pytest.skip(reason)


def java_problem() -> str | None:
    """Return why Spark and Kafka cannot run here, None when they can."""
    try:
        find_java()
    except ServiceError as error:
        return str(error)
    return None


@pytest.fixture(scope="session", autouse=True)
def _isolated_environment() -> Iterator[None]:
    """Keep the caller's RECGRAPH_* variables out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            patch.delenv(name)
        patch.setenv("RECGRAPH_CACHE_DIR", str(_CACHE_DIR))
        patch.setenv("JDK_JAVA_OPTIONS", _JVM)
        yield


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose files all lie in the test's own folder, which is also the current one."""
    monkeypatch.chdir(tmp_path)
    return load_settings(data_dir=tmp_path / "data", exports_dir=tmp_path / "exports")


@pytest.fixture(scope="session")
def services_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of the services that all tests of a run share; stopped at its end."""
    from recgraph.services.embedded import stop_all

    folder = tmp_path_factory.mktemp("services")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # away from the caller's recgraph.toml
        shared = load_settings(data_dir=folder)
    yield shared
    stop_all(shared)


@pytest.fixture(scope="session")
def kafka_bootstrap(services_settings: Settings) -> str:
    """Address of a real Kafka broker."""
    from recgraph.services.embedded import ensure_kafka

    problem = java_problem()
    requires(problem is None, problem or "")
    return ensure_kafka(services_settings)


@pytest.fixture(scope="session")
def mongo_uri(services_settings: Settings) -> str:
    """URI of a real MongoDB-wire server."""
    from recgraph.services.embedded import ensure_mongo

    requires(find_mongo_server(), "the embedded MongoDB server is not installed")
    return ensure_mongo(services_settings)


@pytest.fixture
def topic() -> str:
    """A topic name that no other test uses; the topic does not exist yet."""
    return f"sales-{secrets.token_hex(4)}"


@pytest.fixture
def mongo_database(mongo_uri: str) -> "Iterator[Database[dict[str, Any]]]":
    """A database that no other test uses, dropped afterwards."""
    from pymongo import MongoClient

    client: MongoClient[dict[str, Any]]
    with MongoClient(mongo_uri) as client:
        name = f"test-{secrets.token_hex(4)}"
        yield client[name]
        client.drop_database(name)


@pytest.fixture
def service_settings(
    settings: Settings,
    kafka_bootstrap: str,
    mongo_uri: str,
    topic: str,
    mongo_database: "Database[dict[str, Any]]",
) -> Settings:
    """The test's settings, pointed at the real services, a fresh topic and a fresh database."""
    return load_settings(
        data_dir=settings.data_dir,
        exports_dir=settings.exports_dir,
        kafka_bootstrap=kafka_bootstrap,
        mongo_uri=mongo_uri,
        topic=topic,
        mongo_database=mongo_database.name,
    )


@pytest.fixture(scope="session")
def scorer() -> ModuleType:
    """An independent scorer of lists and predictions, where it stands beside this checkout."""
    path = Path(__file__).parents[2] / "shared" / "tools" / "score.py"
    if not path.exists():
        pytest.skip("the independent scorer is not beside this checkout")
    spec = importlib.util.spec_from_file_location("score", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
