"""compose.yaml and Dockerfile: what can be said of them without a container engine."""

import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from recgraph.cli import app
from recgraph.config import PREFIX, Settings, load_settings

FOLDER = Path(__file__).parent.parent / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
OURS = [name for name, service in SERVICES.items() if service["image"] == "recgraph"]

each_service = pytest.mark.parametrize("name", SERVICES)


def variables(text: str) -> set[str]:
    return set(re.findall(rf"\b{PREFIX}[A-Z_]+", text))


def commands(words: list[str]) -> set[str]:
    """Names of the recgraph commands in a command line, a shell's included."""
    flat = [part for word in words for part in shlex.split(word)]
    return {after for word, after in itertools.pairwise(flat) if word == "recgraph"}


def test_the_whole_flow_is_there() -> None:
    assert set(SERVICES) == {"kafka", "mongo", "ingest", "live", "serve", "train"}


@each_service
def test_service_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert len(check["test"]) > 1
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@each_service
def test_port_is_published_on_this_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:"), port


@each_service
def test_no_secret_is_in_the_file(name: str) -> None:
    for variable, value in SERVICES[name]["environment"].items():
        is_secret = "PASSWORD" in variable or "@" in str(value).removeprefix("1@kafka")
        assert not is_secret or "${MONGO_PASSWORD:?" in value, variable


@each_service
def test_service_runs_without_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    user = service.get("user") or re.findall(r"^USER (\w+)", DOCKERFILE, re.MULTILINE)[-1]
    assert user not in {"root", "0"}


@each_service
def test_volume_is_declared(name: str) -> None:
    for volume in SERVICES[name]["volumes"]:
        assert volume.split(":")[0] in COMPOSE["volumes"]


@each_service
def test_services_it_waits_for_are_there(name: str) -> None:
    waits = SERVICES[name].get("depends_on", {})
    assert set(waits) <= set(SERVICES)
    assert all(wait["condition"] == "service_healthy" for wait in waits.values())


def test_every_variable_is_a_setting() -> None:
    text = (FOLDER / "compose.yaml").read_text() + DOCKERFILE
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert variables(text)
    assert variables(text) <= known


@pytest.mark.parametrize("name", OURS)
def test_settings_of_a_service_are_valid(name: str, settings: Settings) -> None:
    values = {
        variable.removeprefix(PREFIX).lower(): re.sub(r"\$\{\w+:-(\w+)\}", r"\1", value)
        for variable, value in SERVICES[name]["environment"].items()
    }
    loaded = load_settings(data_dir=settings.data_dir, **values)
    assert loaded.kafka_bootstrap == "kafka:19092"
    assert loaded.mongo_uri is not None


@pytest.mark.parametrize("name", OURS)
def test_every_command_exists(name: str) -> None:
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    service = SERVICES[name]
    used = commands(service["command"]) | commands(service["healthcheck"]["test"])
    assert used
    assert used <= known


def test_image_copies_only_what_is_not_ignored() -> None:
    ignore = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    sources = [
        source
        for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert f"!{source}" in ignore
