"""`recgraph reviews`: files of product reviews in, and what became of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from recgraph.cli.base import AsJson, app, bar, err, report, say
from recgraph.cli.generations import opened_store
from recgraph.config import Settings, load_settings
from recgraph.errors import InputError
from recgraph.messages import readable
from recgraph.stages import Stages

if TYPE_CHECKING:
    from recgraph.services.reviews import MongoReviews

reviews_app = typer.Typer(no_args_is_help=True, help="Product reviews, of any size.")
app.add_typer(reviews_app, name="reviews", rich_help_panel="Events")

_SOME_PRODUCTS = 5
"""Products that `explain` takes for a sample."""
_SHOWN = 200
"""Letters of a text that are shown."""
_COUNTED = ("examined", "returned")
_COUNTS = ("lines", "loaded", "rejected", "duplicates")


@reviews_app.command()
def load(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="One review a line; .gz too.")
    ],
    as_json: AsJson = False,
) -> None:
    """Take files of reviews into the table of reviews.

    The Amazon reviews of 2014, 2018 and 2023, each line by itself: JSON, or the Python dicts of
    early files. A file may be larger than the memory. A load that was killed is simply run again:
    it goes on where it was, and nothing is in twice. A line that is no review is kept with its
    reason; one whose content was loaded before is a duplicate, and counts once.

      recgraph reviews load AMAZON_FASHION.json.gz Gift_Cards.json.gz
    """
    from recgraph import jobs
    from recgraph.jobs import reviews

    settings = load_settings()
    reviews.check_files(paths)
    stages = Stages(say)
    with jobs.open_spark(settings, stages) as spark, _bytes_bar() as on_progress:
        loaded = reviews.load_files(spark, settings, paths, stages, on_progress)
    summary = {
        "files": [msgspec.to_builtins(each) for each in loaded],
        **{name: sum(getattr(each, name) for each in loaded) for name in _COUNTS},
        "seconds": stages.seconds,
    }
    report(summary, as_json=as_json, render=render_load)
    if errors := [each.error for each in loaded if each.error]:
        raise InputError("\n".join(errors))


@reviews_app.command()
def publish(as_json: AsJson = False) -> None:
    """Copy the reviews to MongoDB, where they stand together by product.

    They are read from the table in a stream, and written with ids that their content gives them:
    publishing again writes what is new, and nothing twice. On a sharded cluster the collection is
    spread by the hash of the product first.
    """
    settings = load_settings()
    with _opened_reviews(settings) as reviews, bar("publishing") as on_progress:
        published = reviews.publish(settings.reviews_dir / "lines", on_progress)
    report(msgspec.to_builtins(published), as_json=as_json, render=_render_published)


@reviews_app.command("of")
def of_product(
    product: Annotated[str, typer.Argument(help="Id of the product (asin).")],
    limit: Annotated[int, typer.Option(min=1, help="Show so many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the newest reviews of a product, from MongoDB."""
    with _opened_reviews(load_settings()) as reviews:
        found = reviews.of_item(product, limit)
    report({"product": product, "reviews": found}, as_json=as_json, render=_render_reviews)


@reviews_app.command()
def explain(
    products: Annotated[
        list[str] | None, typer.Argument(metavar="PRODUCT...", help="Unset, some that are there.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the queries that the reviews in MongoDB serve, and how the server answers them."""
    with _opened_reviews(load_settings()) as reviews:
        asked = products or reviews.some_items(_SOME_PRODUCTS)
        if not asked:
            message = "there are no reviews in MongoDB yet: `recgraph reviews publish`."
            raise InputError(message)
        plans = reviews.explain(asked)
    report({"plans": msgspec.to_builtins(plans)}, as_json=as_json, render=_render_plans)


@contextmanager
def _opened_reviews(settings: Settings) -> "Iterator[MongoReviews]":
    from recgraph.services.reviews import MongoReviews

    with opened_store(settings) as store:
        yield MongoReviews(store.connection)


@contextmanager
def _bytes_bar() -> Iterator[Callable[[Path, int, int], None]]:
    """Give a function that shows how much of a file is read, as a bar on standard error."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    rest = (TransferSpeedColumn(), TimeRemainingColumn())
    disable = not err.is_terminal
    with Progress(*columns, *rest, console=err, transient=True, disable=disable) as progress:
        task = progress.add_task("", total=None)

        def show(path: Path, done: int, total: int) -> None:
            progress.update(task, description=path.name, completed=done, total=total)

        yield show


def _render_published(summary: Mapping[str, Any]) -> RenderableType:
    table = Table("read", "written", "in MongoDB")
    table.add_row(*(f"{summary[name]:,}" for name in ("read", "written", "held")))
    return table


def _render_reviews(summary: Mapping[str, Any]) -> RenderableType:
    table = Table("reviewed at", "rating", "user", "title", "text", title=summary["product"])
    for row in summary["reviews"]:
        texts = [readable(str(row.get(name, "")).encode(), _SHOWN) for name in ("title", "text")]
        at = f"{row['reviewed_at']:%Y-%m-%d}"
        table.add_row(at, f"{row['rating']:g}", Text(row["user_id"]), *map(Text, texts))
    return table


def _render_plans(summary: Mapping[str, Any]) -> RenderableType:
    lines = []
    for plan in summary["plans"]:
        examined, returned = ("?" if plan[name] is None else f"{plan[name]:,}" for name in _COUNTED)
        lines += [
            Text(plan["name"], style="bold"),
            Text(plan["query"], style="dim"),
            Text(f"{' > '.join(plan['stages'])}, index {plan['index'] or 'none'}"),
            Text(f"looked at {examined} documents to return {returned}\n"),
        ]
    return Group(*lines)


def render_load(summary: Mapping[str, Any]) -> RenderableType:
    """Tables of what became of the lines, and of why some were rejected."""
    table = Table("file", *_COUNTS, "")
    table.columns[0].overflow = "fold"
    for file in summary["files"]:
        note = "loaded before" if file["was_known"] else "not to its end" if file["error"] else ""
        table.add_row(Text(file["path"]), *(f"{file[name]:,}" for name in _COUNTS), note)
    if len(summary["files"]) > 1:
        table.add_section()
        table.add_row("all", *(f"{summary[name]:,}" for name in _COUNTS), "")
    if not summary["rejected"]:
        return table
    reasons = Table("file", "rejected for", "lines")
    for file in summary["files"]:
        for reason, n_lines in file["reasons"].items():
            reasons.add_row(Text(file["path"]), reason, f"{n_lines:,}")
    return Group(table, reasons)
