"""`recgraph publish` and `recgraph generations`: which generation readers see."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.pretty import Pretty
from rich.table import Column, Table

from recgraph import generations
from recgraph.cli.base import AsJson, app, bar, err, report
from recgraph.config import Settings, load_settings
from recgraph.errors import GenerationError
from recgraph.generations import Manifest

if TYPE_CHECKING:
    from recgraph.ports import Published
    from recgraph.services.mongo import MongoStore
    from recgraph.services.publish import Publication

generations_app = typer.Typer(no_args_is_help=True, help="What each training made.")
app.add_typer(generations_app, name="generations", rich_help_panel="Generations")

GenerationId = Annotated[str, typer.Argument(help="As `recgraph generations list` shows it.")]
EvenIfRejected = Annotated[
    bool,
    typer.Option("--even-if-rejected", "--force", help="Even one that the quality gate refused."),
]


@contextmanager
def opened_store(settings: Settings) -> "Iterator[MongoStore]":
    """Give the store of the settings; the embedded server is started when need be."""
    from recgraph.services.embedded import ensure_mongo
    from recgraph.services.mongo import open_store

    with open_store(ensure_mongo(settings, err.print), settings.mongo_database) as store:
        yield store


@app.command(rich_help_panel="Generations")
def publish(
    generation: Annotated[
        str | None, typer.Argument(help="Generation; unset, the newest complete one.")
    ] = None,
    even_if_rejected: EvenIfRejected = False,
    as_json: AsJson = False,
) -> None:
    """Copy a generation to MongoDB and make it current: what the dashboard shows.

    Readers see the old one until the new one is there as a whole. Publishing again changes
    nothing, and mends what a server that was killed has lost.
    """
    settings = load_settings()
    folder = generations.resolve(settings.generations_dir, generation)
    if generation is None:
        _say_what_is_passed_over(settings, folder.name)
    done = run_publish(settings, folder, even_if_rejected=even_if_rejected)
    report(msgspec.structs.asdict(done), as_json=as_json, render=_render_publication)


def _say_what_is_passed_over(settings: Settings, chosen: str) -> None:
    """Say on standard error which newer generation is not published, and why."""
    newest = generations.list_generations(settings.generations_dir)[0]
    if newest.id > chosen:
        err.print(f"{newest.id} was rejected: {newest.reason}. Publishing {chosen}.")


def run_publish(
    settings: Settings, folder: Path, *, even_if_rejected: bool = False
) -> "Publication":
    """Return what publishing a generation's folder did, with a bar on standard error."""
    from recgraph.services.embedded import ensure_mongo
    from recgraph.services.publish import publish

    generations.read_manifest(folder)  # a wrong folder needs no server to be wrong
    with opened_store(settings) as store, bar("publishing") as on_progress:
        return publish(
            store,
            folder,
            keep=settings.keep_generations,
            on_progress=on_progress,
            revive=lambda: ensure_mongo(settings, err.print),
            even_if_rejected=even_if_rejected,
        )


def _render_publication(summary: Mapping[str, Any]) -> Table:
    table = Table("current", "users", "items", "documents written", "dropped", "seconds")
    counts = (f"{summary[name]:,}" for name in ("users", "items", "written"))
    dropped = ", ".join(summary["dropped"]) or "none"
    table.add_row(summary["generation"], *counts, dropped, f"{summary['seconds']:.1f}")
    return table


@generations_app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the generations on disk and in the store, newest first, with how good they are."""
    settings = load_settings()
    on_disk = {m.id: m for m in generations.list_generations(settings.generations_dir)}
    with opened_store(settings) as store:
        held = {published.manifest.id: published for published in store.generations()}
    ids = sorted(on_disk.keys() | held.keys(), reverse=True)
    summary = {"generations": [_entry(each, on_disk.get(each), held.get(each)) for each in ids]}
    report(summary, as_json=as_json, render=_render_list)


def _entry(
    generation_id: str, on_disk: Manifest | None, published: "Published | None"
) -> dict[str, Any]:
    manifest = on_disk or (published.manifest if published else None)
    assert manifest is not None  # an id comes from one of the two
    return {
        "id": generation_id,
        "created_at": manifest.created_at,
        "status": manifest.status,
        "reason": manifest.reason,
        "on_disk": on_disk is not None,
        "in_store": published is not None,
        "is_current": published is not None and published.is_current,
        "users": manifest.counts.users,
        "items": manifest.counts.items,
        "interactions": manifest.counts.interactions,
        "ndcg": ndcg_by_task(manifest),
    }


def ndcg_by_task(manifest: Manifest) -> dict[str, dict[str, float]]:
    """Return task -> recommender -> nDCG@k, of the model and its baselines."""
    tasks: dict[str, dict[str, float]] = {}
    for metrics in manifest.metrics.ranking:
        tasks.setdefault(metrics.task, {})[metrics.recommender] = metrics.ndcg
    return tasks


def _render_list(summary: Mapping[str, Any]) -> Table | str:
    entries = summary["generations"]
    if not entries:
        return "No generation yet. Make one: recgraph train"
    tasks = list(dict.fromkeys(task for entry in entries for task in entry["ndcg"]))
    ndcg = (f"nDCG {task.replace('_', ' ')}" for task in tasks)
    table = Table(Column("generation", no_wrap=True), "", "where", "users", "items", *ndcg)
    places = {"on_disk": "disk", "in_store": "store"}
    for entry in entries:
        table.add_row(
            entry["id"],
            "current" if entry["is_current"] else entry["status"].replace("complete", ""),
            ", ".join(place for name, place in places.items() if entry[name]),
            *(f"{entry[name]:,}" for name in ("users", "items")),
            *(_against_baselines(entry["ndcg"].get(task, {})) for task in tasks),
        )
    return table


def _against_baselines(scores: Mapping[str, float]) -> str:
    """Return a line a recommender: the model first, then its baselines."""
    return "\n".join(f"{score:.3f} {name}" for name, score in scores.items())


@generations_app.command()
def show(generation: GenerationId, as_json: AsJson = False) -> None:
    """Show everything that a generation says of itself."""
    settings = load_settings()
    report(
        msgspec.to_builtins(_manifest(settings, generation)),
        as_json=as_json,
        render=lambda summary: Pretty(dict(summary), max_length=30),
    )


def _manifest(settings: Settings, generation_id: str) -> Manifest:
    """Return a manifest from disk, or from the store when it is only there."""
    try:
        folder = generations.resolve(settings.generations_dir, generation_id)
        return generations.read_manifest(folder)
    except GenerationError:
        with opened_store(settings) as store:
            for published in store.generations():
                if published.manifest.id == generation_id:
                    return published.manifest
        raise


@generations_app.command()
def diff(before: GenerationId, after: GenerationId, as_json: AsJson = False) -> None:
    """Say what changed from one generation to another: lists, products, settings, figures.

    Both must be on disk. A user's two lists are compared by Jaccard (common items / all of both)
    and by rank-biased overlap, in which the first places count most: 1 is the same list, 0 has
    nothing in common.
    """
    from recgraph.cli.differences import render
    from recgraph.diff import compare

    root = load_settings().generations_dir
    difference = compare(*(generations.resolve(root, each) for each in (before, after)))
    report(msgspec.structs.asdict(difference), as_json=as_json, render=lambda _: render(difference))


@generations_app.command()
def activate(
    generation: GenerationId, even_if_rejected: EvenIfRejected = False, as_json: AsJson = False
) -> None:
    """Make a generation current: a roll-back, or forward again.

    It is published first if the store does not hold all of it. One that the quality gate refused
    is refused here, too.
    """
    from recgraph.services.publish import activate

    settings = load_settings()
    with opened_store(settings) as store, bar("publishing") as on_progress:
        done = activate(
            store,
            settings.generations_dir,
            generation,
            keep=settings.keep_generations,
            on_progress=on_progress,
            even_if_rejected=even_if_rejected,
        )
    report(msgspec.structs.asdict(done), as_json=as_json, render=_render_publication)


@generations_app.command()
def prune(
    keep: Annotated[
        int | None, typer.Option(min=1, help="Generations to keep; unset, keep_generations.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove old generations from the store and from disk; the current one always stays."""
    from recgraph.services.publish import prune

    settings = load_settings(keep_generations=keep)
    with opened_store(settings) as store:
        pointer = store.pointer()
        from_store = prune(store, settings.keep_generations)
    current = pointer.generation if pointer else None
    from_disk = generations.prune(
        settings.generations_dir, settings.keep_generations, current=current
    )
    summary = {"removed_from_store": from_store, "removed_from_disk": from_disk}
    report(summary, as_json=as_json, render=_render_pruned)


def _render_pruned(summary: Mapping[str, Any]) -> Table:
    table = Table("removed from", "generations")
    for name, removed in summary.items():
        table.add_row(name.rsplit("_", 1)[-1], ", ".join(removed) or "none")
    return table
