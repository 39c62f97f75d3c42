"""The commands about generations, exports and the catalogue, through the real program."""

import json
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from typer.testing import CliRunner

from recgraph.cli import app
from recgraph.config import Settings
from recgraph.errors import GenerationError, InputError, StoreUnavailable
from recgraph.services.mongo import open_store
from tests.sample import write_sample_generation

pytestmark = pytest.mark.services

FIRST, SECOND, THIRD = (f"2026010{day}-120000-5a3e" for day in (1, 2, 3))


@pytest.fixture(autouse=True)
def _environment(
    settings: Settings,
    mongo_uri: str,
    mongo_database: Database[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECGRAPH_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("RECGRAPH_EXPORTS_DIR", str(settings.exports_dir))
    monkeypatch.setenv("RECGRAPH_MONGO_URI", mongo_uri)
    monkeypatch.setenv("RECGRAPH_MONGO_DATABASE", mongo_database.name)


def run(*arguments: str) -> str:
    """Return what a command prints on standard output; its error is raised."""
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result.stdout


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def states() -> dict[str, tuple[bool, bool, bool]]:
    """Return generation -> (on disk, in the store, current)."""
    return {
        entry["id"]: (entry["on_disk"], entry["in_store"], entry["is_current"])
        for entry in run_json("generations", "list")["generations"]
    }


def test_publish_takes_the_newest_and_activate_goes_back(settings: Settings) -> None:
    for generation_id in (FIRST, SECOND):
        write_sample_generation(settings.generations_dir, generation_id=generation_id)
    done = run_json("publish")
    assert (done["generation"], done["has_moved"], done["users"], done["items"]) == (
        *(SECOND, True),
        *(40, 60),
    )
    assert states() == {SECOND: (True, True, True), FIRST: (True, False, False)}
    assert run_json("generations", "activate", FIRST)["generation"] == FIRST
    assert states() == {SECOND: (True, True, False), FIRST: (True, True, True)}
    assert run_json("generations", "activate", SECOND)["written"] == 0


def test_list_compares_with_the_baselines(settings: Settings) -> None:
    assert run_json("generations", "list") == {"generations": []}
    assert "recgraph train" in run("generations", "list")
    write_sample_generation(settings.generations_dir, generation_id=FIRST)
    (entry,) = run_json("generations", "list")["generations"]
    assert entry["ndcg"]["new_items"] == {"als+walk": 0.062, "als": 0.058, "popular": 0.049}
    shown = run("generations", "list")
    assert FIRST in shown
    assert "0.062 als" in shown


def test_show_finds_it_on_disk_and_in_the_store(settings: Settings) -> None:
    folder = write_sample_generation(settings.generations_dir, generation_id=FIRST)
    on_disk = run_json("generations", "show", FIRST)
    run("publish", FIRST)
    folder.rename(settings.data_dir / "away")
    assert run_json("generations", "show", FIRST) == on_disk
    assert on_disk["counts"]["vertices"] == 100
    with pytest.raises(GenerationError, match="no complete generation"):
        run("generations", "show", SECOND)


def test_prune_removes_from_disk_and_store_but_not_the_current_one(settings: Settings) -> None:
    for generation_id in (FIRST, SECOND, THIRD):
        write_sample_generation(settings.generations_dir, generation_id=generation_id)
        run("publish", generation_id)
    run("generations", "activate", FIRST)
    done = run_json("generations", "prune", "--keep", "2")
    assert done == {"removed_from_store": [SECOND], "removed_from_disk": [SECOND]}
    assert states() == {THIRD: (True, True, False), FIRST: (True, True, True)}


@pytest.mark.parametrize("command", [["publish"], ["export"]])
def test_nothing_trained_is_one_line(command: list[str]) -> None:
    with pytest.raises(GenerationError, match="recgraph train"):
        run(*command)


@pytest.mark.parametrize("wrong", ["nope", "../..", FIRST])
def test_unknown_generation_is_one_line(settings: Settings, wrong: str) -> None:
    write_sample_generation(settings.generations_dir, generation_id=SECOND)
    for command in (["publish"], ["generations", "activate"], ["export", "--generation"]):
        with pytest.raises(GenerationError):
            run(*command, wrong)


def test_publish_of_a_rejected_generation_is_refused(settings: Settings) -> None:
    write_sample_generation(settings.generations_dir, generation_id=FIRST, status="rejected")
    with pytest.raises(GenerationError, match="was rejected"):
        run("publish", FIRST)
    assert states() == {FIRST: (True, False, False)}
    assert run_json("publish", FIRST, "--even-if-rejected")["has_moved"] is True
    assert states() == {FIRST: (True, True, True)}


def test_publish_passes_over_a_newer_rejected_one_and_says_so(settings: Settings) -> None:
    write_sample_generation(settings.generations_dir, generation_id=FIRST)
    write_sample_generation(settings.generations_dir, generation_id=SECOND, status="rejected")
    result = CliRunner().invoke(app, ["publish", "--json"], env={"COLUMNS": "200"})
    assert json.loads(result.stdout)["generation"] == FIRST
    assert f"{SECOND} was rejected: nDCG fell below" in result.stderr
    assert states()[FIRST] == (True, True, True)
    (newest, _) = run_json("generations", "list")["generations"]
    assert (newest["status"], newest["reason"][:9]) == ("rejected", "nDCG fell")


def test_activate_of_a_rejected_generation_needs_the_flag_each_time(settings: Settings) -> None:
    write_sample_generation(settings.generations_dir, generation_id=FIRST, status="rejected")
    write_sample_generation(settings.generations_dir, generation_id=SECOND)
    run("publish")
    for _ in ("only on disk", "whole in the store"):
        with pytest.raises(GenerationError, match=r"was rejected: nDCG .* --even-if-rejected"):
            run("generations", "activate", FIRST)
        assert states()[SECOND] == (True, True, True)
        assert run_json("generations", "activate", FIRST, "--force")["generation"] == FIRST
        run("generations", "activate", SECOND)


def test_publish_without_server_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sample_generation(settings.generations_dir)
    monkeypatch.setenv("RECGRAPH_MONGO_URI", "mongodb://ann:S3cret@127.0.0.1:1")
    with pytest.raises(StoreUnavailable, match="does not answer") as caught:
        run("publish")
    assert "S3cret" not in str(caught.value)


def test_export_writes_both_files_and_says_where(settings: Settings, tmp_path: Path) -> None:
    write_sample_generation(settings.generations_dir, generation_id=FIRST)
    done = run_json("export")
    assert (done["vertices"], done["edges"], done["generation"]) == (100, 499, FIRST)
    assert done["edges_path"] == str(settings.exports_dir / "edges.csv")
    assert "vertices.csv" in run("export", "--output", str(tmp_path / "else"))
    assert (tmp_path / "else" / "edges.csv").read_bytes() == (
        settings.exports_dir / "edges.csv"
    ).read_bytes()


def test_catalogue_load_goes_to_disk_and_store_and_adds_up(
    settings: Settings, tmp_path: Path, mongo_uri: str, mongo_database: Database[dict[str, Any]]
) -> None:
    from recgraph.catalogue import read_catalogue

    first, second = tmp_path / "one.csv", tmp_path / "two.csv"
    first.write_text("sku,name\na,Old\n$b.c,Other\na,Newer\n,Nobody\n")
    second.write_text("sku,name\na,<b>Newest</b>\n")
    options = ["--item-column", "sku", "--title-column", "name"]
    done = run_json("catalogue", "load", str(first), *options)
    assert done == {"rows": 4, "loaded": 2, "skipped": 1, "replaced": 1, "products": 2}
    assert run_json("catalogue", "load", str(second), *options)["products"] == 2
    titles = {"a": "<b>Newest</b>", "$b.c": "Other"}
    assert {i: p.title for i, p in read_catalogue(settings.catalogue_path).items()} == titles
    with open_store(mongo_uri, mongo_database.name) as store:
        assert {d["_id"]: d["title"] for d in store.database["catalogue"].find()} == titles


def test_catalogue_load_of_a_missing_column_changes_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_text("id,name\n1,a\n")
    with pytest.raises(InputError, match="no column product_id"):
        run("catalogue", "load", str(tmp_path / "p.csv"))
    assert not settings.catalogue_path.exists()
