"""The folder of a generation: whole or not there, found again, pruned, and refused when broken."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.dataset as pads
import pytest

from recgraph import generations
from recgraph.claims import claimed
from recgraph.errors import GenerationError
from recgraph.generations import (
    Check,
    Verdict,
    list_generations,
    new_id,
    open_new,
    prune,
    read_manifest,
    resolve,
    write_manifest,
)
from tests.sample import write_sample_generation

IDS = [f"2026010{day}-120000-5a3e" for day in range(1, 6)]


def write_ids(root: Path, ids: list[str], *, rejected: tuple[str, ...] = ()) -> None:
    for generation_id in ids:
        status = "rejected" if generation_id in rejected else "complete"
        write_sample_generation(root, generation_id=generation_id, status=status)


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_new_ids_sort_by_time_and_differ() -> None:
    early, late = datetime(2026, 1, 5, 9, tzinfo=UTC), datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert new_id(early) < new_id(late)
    assert len({new_id(early) for _ in range(50)}) > 40
    assert new_id(early).startswith("20260105-090000-")


def test_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path)
    manifest = read_manifest(folder)
    (tmp_path / "copy").mkdir()
    write_manifest(tmp_path / "copy", manifest)
    assert read_manifest(tmp_path / "copy") == manifest
    assert manifest.created_at.microsecond == 123456


def test_older_manifest_without_later_metrics_is_read(tmp_path: Path) -> None:
    path = write_sample_generation(tmp_path) / "generation.json"
    text = json.loads(path.read_text())
    known = ("task", "recommender", "k", "n_users", "ndcg", "recall", "coverage")
    rows = [{name: row[name] for name in known} for row in text["metrics"]["ranking"]]
    text["metrics"]["ranking"] = rows
    path.write_text(json.dumps(text))
    found = read_manifest(path.parent).metrics.ranking
    assert [row.ndcg for row in found] == [row["ndcg"] for row in rows]
    assert {(row.ndcg_low, row.map, row.novelty) for row in found} == {(None, None, None)}


def test_open_new_gives_the_name_only_at_the_end(tmp_path: Path) -> None:
    manifest = read_manifest(write_sample_generation(tmp_path / "other"))
    with open_new(tmp_path / "root", IDS[0]) as folder:
        write_manifest(folder, manifest)
        assert list_generations(tmp_path / "root") == []
        assert not (tmp_path / "root" / IDS[0]).exists()
    assert names(tmp_path / "root") == [IDS[0]]


def test_open_new_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write_half() -> None:
        with open_new(tmp_path, IDS[0]) as folder:
            (folder / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert names(tmp_path) == []


def test_open_new_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match="no complete generation"), open_new(tmp_path, IDS[0]):
        pass
    assert names(tmp_path) == []


def test_what_a_killed_training_left_goes_with_the_next(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from recgraph.generations import open_new\n"
        "with open_new(Path(sys.argv[1]), sys.argv[2]) as folder: os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path), IDS[0]], check=False)
    assert killed.returncode == -9
    (left,) = names(tmp_path)
    assert left.startswith(".unfinished-")
    with claimed(tmp_path / f".unfinished-{IDS[1]}") as running:
        write_sample_generation(tmp_path, generation_id=IDS[2])
        assert names(tmp_path) == sorted([running.name, IDS[2]])
    assert names(tmp_path) == [IDS[2]]


def test_list_is_newest_first_and_knows_the_rejected(tmp_path: Path) -> None:
    assert list_generations(tmp_path / "none") == []
    write_ids(tmp_path, IDS[:3], rejected=(IDS[1],))
    listed = list_generations(tmp_path)
    assert [m.id for m in listed] == [IDS[2], IDS[1], IDS[0]]
    assert [m.status for m in listed] == ["complete", "rejected", "complete"]


def test_resolve_takes_the_newest_complete_one(tmp_path: Path) -> None:
    write_ids(tmp_path, IDS[:3], rejected=(IDS[2],))
    assert resolve(tmp_path, None) == tmp_path / IDS[1]
    assert resolve(tmp_path, IDS[0]) == tmp_path / IDS[0]


def test_resolve_without_any_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match="recgraph train"):
        resolve(tmp_path, None)


@pytest.mark.parametrize(
    "wrong", ["", ".", "..", "../x", "/etc", "a\x00b", ".unfinished-x", "{$gt: ''}", "x" * 10_000]
)
def test_resolve_refuses_what_is_no_id(tmp_path: Path, wrong: str) -> None:
    write_manifest(tmp_path, read_manifest(write_sample_generation(tmp_path / "x")))
    with pytest.raises(GenerationError, match="is no generation id"):
        resolve(tmp_path / "x", wrong)


def test_manifest_from_before_the_gate_is_readable(tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path)
    path = folder / "generation.json"
    old = json.loads(path.read_bytes())
    del old["verdict"], old["reason"], old["metrics"]["model"]
    path.write_text(json.dumps(old))
    manifest = read_manifest(folder)
    assert (manifest.verdict, manifest.reason, manifest.metrics.model) == (None, None, "als")


def test_manifest_with_a_verdict_comes_back(tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path, status="rejected")
    check = Check("ndcg", "new_items", 10, "popular", 0.041, 0.05, 0.0475, passed=False)
    verdict = Verdict(False, ["worse"], [check], compared_with=IDS[0], notes=["a note"])
    manifest = msgspec.structs.replace(read_manifest(folder), verdict=verdict)
    write_manifest(folder, manifest)
    assert read_manifest(folder) == manifest


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"id": 5}'])
def test_manifest_that_is_broken_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    folder = write_sample_generation(tmp_path)
    (folder / "generation.json").write_bytes(content)
    for read in (lambda: read_manifest(folder), lambda: list_generations(tmp_path)):
        with pytest.raises(GenerationError, match=r"cannot be read: .* Remove .* and train again"):
            read()


def test_manifest_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "generation.json").mkdir()
    with pytest.raises(GenerationError, match="cannot be read"):
        read_manifest(tmp_path)


def test_prune_keeps_the_newest(tmp_path: Path) -> None:
    write_ids(tmp_path, IDS)
    assert prune(tmp_path, 2, current=None) == IDS[2::-1]
    assert names(tmp_path) == IDS[3:]
    assert prune(tmp_path, 2, current=None) == []


def test_prune_keeps_the_current_one_whatever_its_age(tmp_path: Path) -> None:
    write_ids(tmp_path, IDS)
    assert prune(tmp_path, 2, current=IDS[0]) == IDS[3:0:-1]
    assert names(tmp_path) == [IDS[0], IDS[4]]


def test_prune_counts_only_complete_ones(tmp_path: Path) -> None:
    write_ids(tmp_path, IDS, rejected=(IDS[0], IDS[3], IDS[4]))
    assert prune(tmp_path, 1, current=None) == [IDS[1], IDS[0]]
    assert names(tmp_path) == IDS[2:]


def test_prune_counts_the_rejected_apart_and_keeps_two(tmp_path: Path) -> None:
    write_ids(tmp_path, IDS, rejected=(*IDS[1:4],))
    assert prune(tmp_path, 3, current=None) == [IDS[1]]
    assert names(tmp_path) == [IDS[0], *IDS[2:]]


def test_prune_keeps_a_rejected_one_that_is_current(tmp_path: Path) -> None:
    write_ids(tmp_path, IDS, rejected=(*IDS[:4],))
    assert prune(tmp_path, 1, current=IDS[0]) == [IDS[4], IDS[1]]
    assert names(tmp_path) == [IDS[0], *IDS[2:4]]


def test_prune_of_a_current_one_that_is_elsewhere(tmp_path: Path) -> None:
    write_ids(tmp_path, IDS[:2])
    assert prune(tmp_path, 1, current="20270101-000000-aaaa") == IDS[1::-1]


# --- the sample that the other tests stand on ---------------------------------------------------


def rows(folder: Path, table: str) -> list[dict[str, object]]:
    return list(pads.dataset(folder / table).to_table().to_pylist(maps_as_pydicts="strict"))


def test_sample_is_consistent_with_itself(tmp_path: Path) -> None:
    folder = write_sample_generation(tmp_path)
    manifest, edges = read_manifest(folder), rows(folder, "edges")
    counts = manifest.counts
    bought = {(e["src"], e["dst"]) for e in edges if e["kind"] == "bought"}
    listed = {(e["src"], e["dst"]) for e in edges if e["kind"] == "recommended"}
    assert (len(bought), len(listed)) == (counts.interactions, counts.recommendations)
    assert not bought & listed
    vertices = {vertex["id"]: vertex for vertex in rows(folder, "vertices")}
    assert len(vertices) == counts.vertices == counts.users + counts.items
    for key, vertex in vertices.items():
        assert vertex["bought_degree"] == sum(key in pair for pair in bought)
        assert vertex["recommended_degree"] == sum(key in pair for pair in listed)
    of_degrees = dict(manifest.degrees.recommended)
    assert sum(of_degrees.values()) == counts.items
    assert sum(degree * n for degree, n in of_degrees.items()) == counts.recommendations
    item_factors = np.load(folder / generations.ITEM_FACTORS)
    assert (item_factors.dtype, len(item_factors)) == (np.float32, counts.items)


def test_sample_is_the_same_every_time(tmp_path: Path) -> None:
    one, other = (write_sample_generation(tmp_path / name) for name in ("one", "other"))
    for table in ("vertices", "edges", "users", "items", "user_factors"):
        assert rows(one, table) == rows(other, table)
    assert read_manifest(one) == read_manifest(other)
