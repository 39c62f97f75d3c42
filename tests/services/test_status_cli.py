"""`recgraph status` and the metrics, against real services and without them; no Spark."""

import json
import urllib.request
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from recgraph.cli import app
from recgraph.config import Settings
from recgraph.errors import ConfigError, ServiceError
from recgraph.ports import Progress
from recgraph.services import kafka
from recgraph.services.metrics import open_metrics
from recgraph.services.mongo import open_store
from recgraph.services.publish import publish
from recgraph.status import Process, Reporter, Training
from tests.sample import GENERATION_ID, write_sample_generation

pytestmark = pytest.mark.services

NOBODY = "127.0.0.1:1"


@pytest.fixture
def reporter(service_settings: Settings) -> Reporter:
    """A process that has taken in one of the three messages on its topic."""
    bootstrap = str(service_settings.kafka_bootstrap)
    topic = kafka.ensure_topic(bootstrap, service_settings.topic, n_partitions=1)
    kafka.produce(bootstrap, topic.name, [(None, b"1"), (None, b"2"), (None, b"3")])
    reporter = Reporter(service_settings.status_path, "run", service_settings.topic)
    reporter.reads(topic.id)
    reporter.took(0, {"not_an_object": 1}, 0.2, Progress(0, 1, None, datetime.now(UTC)))
    reporter.poll({"0": 1})
    return reporter


def invoke(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, *arguments: str, **changes: str
) -> tuple[int, str]:
    """Return the exit code and the output of `recgraph status`."""
    names = ("data_dir", "kafka_bootstrap", "topic", "mongo_database")
    variables = {name: str(getattr(settings, name)) for name in names}
    if settings.mongo_uri is not None:
        variables["mongo_uri"] = settings.mongo_uri.get_secret_value()
    for name, value in (variables | changes).items():
        monkeypatch.setenv(f"RECGRAPH_{name.upper()}", value)
    result = CliRunner().invoke(app, ["status", *arguments], env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def test_what_answers_is_shown(
    service_settings: Settings, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_sample_generation(service_settings.generations_dir)
    with open_store(_uri(service_settings), service_settings.mongo_database) as store:
        publish(store, folder, keep=3)
    reporter.trains(Training(datetime.now(UTC), generation="g", outcome="rejected"), 7)
    reporter.write()
    code, text = invoke(service_settings, monkeypatch, "--json")
    said = json.loads(text)
    assert code == 0
    assert said["problems"] == {}
    assert said["running"] == "run"
    assert said["lag"] == {"0": 2}
    assert said["generation"]["id"] == GENERATION_ID
    assert said["last"]["intake"]["rejected"] == {"not_an_object": 1}
    assert said["last"]["training"]["outcome"] == "rejected"
    code, text = invoke(service_settings, monkeypatch)
    assert code == 0
    for words in ("recgraph run runs", "not_an_object 1", "2 messages", "7 events", GENERATION_ID):
        assert words in text


def test_what_does_not_answer_is_said_in_its_line(
    service_settings: Settings, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"kafka_bootstrap": NOBODY, "mongo_uri": f"mongodb://u:secret@{NOBODY}"}
    code, text = invoke(service_settings, monkeypatch, "--json", **away)
    said = json.loads(text)
    assert code == 1
    assert set(said["problems"]) == {"kafka", "mongodb"}
    assert NOBODY in said["problems"]["kafka"]
    assert "secret" not in text
    assert (said["lag"], said["generation"]) == (None, None)
    assert said["last"]["intake"]["next_offsets"] == {"0": 1}


def test_nothing_ran_yet(service_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text = invoke(service_settings, monkeypatch)
    assert code == 1
    assert "there is no topic" in text
    assert "does not run; start it: recgraph run" in text
    assert "none is published yet" in text


def test_a_topic_made_anew_is_all_lag(
    service_settings: Settings, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter.status.intake.topic_id = "an earlier one"
    reporter.write()
    assert json.loads(invoke(service_settings, monkeypatch, "--json")[1])["lag"] == {"0": 3}


@pytest.mark.parametrize("trouble", ["was killed", "the broker is away"])
def test_trouble_of_ingest_is_a_problem(
    service_settings: Settings,
    reporter: Reporter,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
) -> None:
    if trouble == "was killed":
        reporter.status.process = Process(reporter.status.process.pid, 1.0)
    else:
        reporter.status.intake.problem = trouble
    reporter.write()
    code, text = invoke(service_settings, monkeypatch)
    assert code == 1
    assert trouble in text


def test_metrics_are_what_the_status_and_the_services_say(
    service_settings: Settings, reporter: Reporter
) -> None:
    settings = service_settings.model_copy(update={"metrics_port": 0})
    reporter.trains(None, 7)
    with open_metrics(settings, reporter.status) as observe:
        observe(0.3)
        samples = scrape(str(reporter.status.metrics_url))
        with pytest.raises(ConfigError, match="RECGRAPH_METRICS_PORT"), _taken(reporter, settings):
            pass
    assert samples["recgraph_events_accepted_total"] == {(): 0}
    assert samples["recgraph_events_rejected_total"] == {("not_an_object",): 1}
    assert samples["recgraph_lag_messages"] == {("0",): 2}
    assert samples["recgraph_batch_seconds_count"] == {(): 1}
    assert samples["recgraph_events_waiting_for_training"] == {(): 7}
    assert samples["recgraph_service_up"] == {("kafka",): 1, ("mongodb",): 1}
    assert "recgraph_generation_age_seconds" not in samples  # none is published


def test_no_port_no_metrics(service_settings: Settings, reporter: Reporter) -> None:
    with open_metrics(service_settings, reporter.status) as observe:
        observe(0.3)
        assert reporter.status.metrics_url is None


@pytest.mark.parametrize("bootstrap", [NOBODY, "nonsense", ""])
def test_a_broker_that_is_away_is_said_at_once(bootstrap: str) -> None:
    with pytest.raises(ServiceError, match="nobody listens"):
        kafka.read_extent(bootstrap, "sales")


def scrape(url: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Return sample name -> label values -> value."""
    with urllib.request.urlopen(url, timeout=20) as answer:
        text = answer.read().decode()
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return samples


def _taken(reporter: Reporter, settings: Settings) -> Any:
    """Metrics on the port that is taken."""
    port = int(str(reporter.status.metrics_url).split(":")[2].split("/")[0])
    return open_metrics(settings.model_copy(update={"metrics_port": port}), reporter.status)


def _uri(settings: Settings) -> str:
    assert settings.mongo_uri is not None
    return settings.mongo_uri.get_secret_value()
