"""CSV out and back: the same graph, no formula, and an old export that survives a failure."""

import csv
import math
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx as nx
import pandas as pd
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgraph.errors import GenerationError, InputError
from recgraph.exports import (
    EDGE_COLUMNS,
    VERTEX_COLUMNS,
    escape,
    read_edges,
    read_vertices,
    unescape,
    write_export,
)
from tests.sample import NASTY_ITEMS, NASTY_TITLES, NASTY_USERS, write_sample_generation

FORMULA_STARTS = "=+-@\t\r"


@pytest.fixture(scope="module")
def generation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample_generation(tmp_path_factory.mktemp("generations"))


@pytest.fixture
def exported(generation: Path, tmp_path: Path) -> Path:
    write_export(generation, tmp_path / "exports")
    return tmp_path / "exports"


def on_disk(generation: Path, table: str, columns: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pads.dataset(generation / table).to_table().to_pylist()
    return [{name: row[name] for name in columns} for row in rows]


def test_read_gives_back_every_row_exactly(exported: Path, generation: Path) -> None:
    vertices = on_disk(generation, "vertices", VERTEX_COLUMNS)
    edges = on_disk(generation, "edges", EDGE_COLUMNS)
    assert list(read_vertices(exported / "vertices.csv")) == vertices
    assert list(read_edges(exported / "edges.csv")) == edges
    assert (len(vertices), len(edges)) == (100, 499)


def test_networkx_finds_the_same_graph(exported: Path, generation: Path) -> None:
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    for vertex in read_vertices(exported / "vertices.csv"):
        graph.add_node(vertex.pop("id"), **vertex)
    for edge in read_edges(exported / "edges.csv"):
        graph.add_edge(edge["src"], edge["dst"], edge["kind"], **edge)
    ends = {(e["src"], e["dst"], e["kind"]) for e in on_disk(generation, "edges", EDGE_COLUMNS)}
    assert set(graph.edges) == ends
    for vertex in on_disk(generation, "vertices", VERTEX_COLUMNS):
        assert graph.nodes[vertex["id"]]["title"] == vertex["title"]
        kinds = [key for *_, key in [*graph.in_edges(vertex["id"], keys=True)]]
        kinds += [key for *_, key in [*graph.out_edges(vertex["id"], keys=True)]]
        assert kinds.count("bought") == vertex["bought_degree"]
        assert kinds.count("recommended") == vertex["recommended_degree"]


def test_ids_last_and_carry_their_kind(exported: Path) -> None:
    ids = [vertex["id"] for vertex in read_vertices(exported / "vertices.csv")]
    assert {f"u:{user_id}" for user_id in NASTY_USERS} <= set(ids)
    assert {f"i:{item_id}" for item_id in NASTY_ITEMS} <= set(ids)


def test_files_are_rfc_4180_in_utf_8(exported: Path) -> None:
    for name in ("vertices.csv", "edges.csv"):
        raw = (exported / name).read_bytes()
        assert raw.endswith(b"\r\n")
        assert not raw.startswith(b"\xef\xbb\xbf")
        with (exported / name).open(encoding="utf-8", newline="") as file:
            assert len({len(row) for row in csv.reader(file, strict=True)}) == 1
        unquoted = "".join(raw.decode().split('"')[::2])
        assert unquoted.count("\n") == unquoted.count("\r\n") == unquoted.count("\r")


def test_no_text_cell_begins_like_a_formula_and_numbers_stay_numbers(exported: Path) -> None:
    vertices = pd.read_csv(exported / "vertices.csv", keep_default_na=False)
    for name, type_ in VERTEX_COLUMNS.items():
        if type_ == "text":
            assert not vertices[name].str.startswith(tuple(FORMULA_STARTS)).any()
        else:
            assert pd.api.types.is_numeric_dtype(vertices[name])
    assert "'=1+1 Cola" in set(vertices["title"])
    assert "''already prefixed" in set(vertices["title"])
    assert "'@home" in set(vertices["external_id"])
    assert set(filter(None, NASTY_TITLES)) <= {unescape(title) for title in vertices["title"]}


def test_negative_numbers_are_not_marked(tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path)
    for part in (folder / "edges").glob("*.parquet"):
        edges = pq.read_table(part)
        score = pc.negate(edges["score"])
        pq.write_table(edges.set_column(edges.column_names.index("score"), "score", score), part)
    done = write_export(folder, tmp_path / "exports")
    frame = pd.read_csv(done.edges_path)
    assert frame["score"].max() < 0
    assert [e["score"] for e in read_edges(Path(done.edges_path)) if e["score"]] == [
        e["score"] for e in on_disk(folder, "edges", EDGE_COLUMNS) if e["score"]
    ]


@given(st.text())
def test_escape_is_undone_exactly(text: str) -> None:
    assert unescape(escape(text)) == text
    assert not escape(text).startswith(tuple(FORMULA_STARTS))


@given(st.text(min_size=1), st.text(min_size=1))
def test_escape_keeps_different_texts_different(one: str, other: str) -> None:
    assert (escape(one) == escape(other)) == (one == other)


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "'", "'=1", "''"])
def test_escape_marks_what_could_be_a_formula(text: str) -> None:
    assert escape(text) == "'" + text


@pytest.mark.parametrize("text", ["", "a", "a=1", "1", " =1", "i:-1", "🍎", '"=1"'])
def test_escape_leaves_other_text_alone(text: str) -> None:
    assert escape(text) == text


def test_export_says_what_it_wrote_and_counts_its_steps(generation: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    done = write_export(generation, tmp_path, lambda *step: steps.append(step))
    assert (done.generation, done.vertices, done.edges) == (generation.name, 100, 499)
    assert Path(done.vertices_path).is_file()
    assert steps[-1] == (599, 599)


def test_export_leaves_no_temporary_file(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == ["edges.csv", "vertices.csv"]


def test_export_of_a_generation_that_lacks_edges_keeps_the_old_one(tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path)
    write_export(folder, tmp_path / "exports")
    before = (tmp_path / "exports" / "edges.csv").read_bytes()
    next((folder / "edges").glob("part-00001*")).unlink()
    with pytest.raises(GenerationError, match=r"holds 250 rows, but the manifest .* 499"):
        write_export(folder, tmp_path / "exports")
    assert (tmp_path / "exports" / "edges.csv").read_bytes() == before
    assert len(list((tmp_path / "exports").iterdir())) == 2


def test_export_of_a_broken_file_says_which(tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path)
    next((folder / "vertices").glob("part-00000*")).write_bytes(b"PAR1")
    with pytest.raises(GenerationError, match="vertices cannot be read"):
        write_export(folder, tmp_path / "exports")


def test_export_to_a_place_that_is_a_file_is_one_line(generation: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(InputError, match="taken cannot be written: File exists"):
        write_export(generation, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_export_to_a_full_disk_keeps_the_old_one(generation: Path, tmp_path: Path) -> None:
    write_export(generation, tmp_path / "exports")
    before = {path.name: path.read_bytes() for path in (tmp_path / "exports").iterdir()}
    code = (
        "import sys; from pathlib import Path; from recgraph.exports import write_export\n"
        "write_export(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    failed = subprocess.run(
        [sys.executable, "-c", code, str(generation), str(tmp_path / "exports")],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000)),
    )
    assert "InputError" in failed.stderr
    assert "cannot be written: File too large. What was there before still is." in failed.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "exports").iterdir()} == before


HEADER = ",".join(EDGE_COLUMNS).encode() + b"\r\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "first line should be"),
        (b"a,b\r\n", "first line should be"),
        (HEADER + b"u:1,i:1\r\n", "line 2"),
        (HEADER + b"u:1,i:1,bought,x,,,,,,1.0,\r\n", "line 2"),
        (HEADER + b"\xff,i:1,bought,,,,,,,1.0,\r\n", "is no export"),
        (HEADER + b'"u:1,i:1', "is no export"),
    ],
)
def test_read_says_what_is_wrong_with_a_file(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "edges.csv").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        list(read_edges(tmp_path / "edges.csv"))


def test_read_of_a_missing_file_says_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="recgraph export"):
        list(read_vertices(tmp_path / "none.csv"))


def test_numbers_survive_to_the_last_bit(exported: Path, generation: Path) -> None:
    expected = [row["pagerank"] for row in on_disk(generation, "vertices", ["pagerank"])]
    found = [row["pagerank"] for row in read_vertices(exported / "vertices.csv")]
    assert found == expected
    assert math.isclose(sum(found) / len(found), 1.0, rel_tol=1e-3)
