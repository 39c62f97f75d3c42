"""The direction of imports, held: a ban list per folder."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

SPARK = {"pyspark", "delta", "graphframes"}
CLIENTS = {"kafka", "pymongo", "bson"}
WEB = {"dash", "flask", "aiohttp", "plotly"} | {
    *("dash_cytoscape", "dash_ag_grid", "dash_mantine_components")
}
SHELL = {"recgraph.jobs", "recgraph.cli"}
GPL = {"secantus", "secantusdb"}

BANS = {
    "recgraph/serving/*.py": SPARK
    | CLIENTS
    | WEB
    | SHELL
    | {"recgraph.services", "recgraph.spark"},
    "recgraph/*.py": SPARK | CLIENTS | WEB | SHELL | {"recgraph.services", "recgraph.spark"},
    "recgraph/jobs/*.py": CLIENTS | WEB | {"recgraph.cli", "dashboards"},
    "recgraph/spark/**/*.py": CLIENTS | WEB | SHELL | {"recgraph.services", "dashboards"},
    "recgraph/services/**/*.py": SPARK | WEB | SHELL | {"recgraph.spark", "dashboards"},
    "recgraph/cli/**/*.py": SPARK | CLIENTS,
    "dashboards/**/*.py": SPARK
    | CLIENTS
    | SHELL
    | {"recgraph.services", "recgraph.spark", "recgraph.jars", "recgraph.machine"},
    "**/*.py": GPL,
}


def modules_of(pattern: str) -> Iterator[Path]:
    for path in ROOT.glob(pattern):
        name = path.relative_to(ROOT).as_posix()
        if name.split("/")[0] in {"recgraph", "dashboards"}:
            yield path


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("pattern", BANS)
def test_no_module_imports_what_its_room_bans(pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules_of(pattern)
        for name in imports_of(path)
        if any(name == banned or name.startswith(f"{banned}.") for banned in BANS[pattern])
    ]
    assert not found
    assert list(modules_of(pattern)), f"{pattern} matches nothing: the ban guards nothing"


def test_delta_is_read_without_spark_in_one_module_only() -> None:
    found = {
        path.name
        for path in modules_of("**/*.py")
        for name in imports_of(path)
        if name.split(".")[0] == "deltalake"
    }
    assert found == {"tables.py"}


def test_commands_import_spark_services_and_pages_only_when_they_run() -> None:
    slow = {*SHELL - {"recgraph.cli"}, "recgraph.services", "recgraph.spark", "dashboards"}
    found = [
        f"{path.name} imports {name}"
        for path in modules_of("recgraph/cli/**/*.py")
        for name in _top_level_imports(path)
        if any(name == each or name.startswith(f"{each}.") for each in slow)
    ]
    assert not found


def test_a_command_starts_without_what_only_some_commands_need() -> None:
    late = {"aiohttp", "email_validator", "numpy", "pandas", "pyarrow", "scipy", "sklearn"}
    program = f"import recgraph.cli, sys; print(*sorted({late} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def _top_level_imports(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_every_column_is_named_once() -> None:
    from recgraph.columns import Columns

    names = [value for key, value in vars(Columns).items() if key.isupper()]
    assert len(names) == len(set(names))
