"""`recgraph reviews explore`: what all reviews together say."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from recgraph.cli.base import AsJson, report, say
from recgraph.cli.generations import opened_store
from recgraph.cli.reviews import reviews_app
from recgraph.config import load_settings
from recgraph.exploration import SENTIMENTS, Exploration
from recgraph.stages import Stages


@reviews_app.command()
def explore(
    max_texts: Annotated[
        int, typer.Option(min=0, help="About so many texts are read for their sentiment.")
    ] = 1_000_000,
    as_json: AsJson = False,
) -> None:
    """Say what the reviews say: sentiment, length, helpfulness, time, the most reviewed products.

    What is found is kept in the data folder and in MongoDB, and shown on the page Reviews. Titles
    and prices come from the catalogue: `recgraph catalogue load meta_Gift_Cards.json.gz`. The
    sentiment of a text is that of VADER, for English; about a million letters a second and core.
    """
    from recgraph import jobs
    from recgraph.jobs import exploring
    from recgraph.jobs.source import require_reviews

    settings = load_settings()
    require_reviews(settings)
    stages = Stages(say)
    with jobs.open_spark(settings, stages) as spark:
        found = exploring.explore(spark, settings, stages, max_texts=max_texts)
    with opened_store(settings) as store:
        store.write_exploration(found)
    report(_summary(found) | {"seconds": stages.seconds}, as_json=as_json, render=render_explore)


def _summary(found: Exploration) -> dict[str, Any]:
    """All that was found, and what follows from it."""
    products = {
        name: [
            msgspec.to_builtins(each) | {"estimated_turnover": each.turnover}
            for each in getattr(found, name)
        ]
        for name in ("most_reviewed", "least_reviewed")
    }
    derived: dict[str, Any] = {
        "mean_rating": found.mean_rating,
        "agreed": found.agreed,
        "kappa": found.kappa,
    }
    return {**msgspec.to_builtins(found), **derived, **products}


def render_explore(summary: Mapping[str, Any]) -> RenderableType:
    """The main counts, both sentiments beside each other, the products."""
    counts = Text(
        f"{summary['n_reviews']:,} reviews of {summary['n_items']:,} products by about "
        f"{summary['n_users']:,} users; {summary['mean_rating']:.2f} stars on average"
    )
    products = (
        _products(f"{which} reviewed", summary[f"{which}_reviewed"]) for which in ("most", "least")
    )
    return Group(counts, *_agreement(summary), *products)


def _agreement(summary: Mapping[str, Any]) -> list[RenderableType]:
    if summary["agreed"] is None:
        return [Text("no text was scored")]
    table = Table("by rating", title="sentiment by rating and by text", title_justify="left")
    for name in SENTIMENTS:
        table.add_column(f"text {name}", justify="right")
    for name, row in zip(SENTIMENTS, summary["agreement"], strict=True):
        table.add_row(name, *(f"{count:,}" for count in row))
    kappa = "" if summary["kappa"] is None else f", kappa {summary['kappa']:.2f}"
    return [table, Text(f"both say the same of {summary['agreed']:.1%}{kappa}")]


def _products(title: str, rows: list[dict[str, Any]]) -> Table:
    table = Table("product", title=title, title_justify="left")
    names = ("reviews", "rating", "positive", "by text", "estimated turnover")
    for name in names:
        table.add_column(name, justify="right")
    for each in rows:
        turnover = each["estimated_turnover"]
        table.add_row(
            Text(each["title"] or each["item_id"]),
            f"{each['n_reviews']:,}",
            f"{each['mean_rating']:.2f}",
            _positive(each["by_rating"]),
            _positive(each["by_text"]),
            "" if turnover is None else f"{turnover:,.2f}",
        )
    return table


def _positive(counts: list[int]) -> str:
    """The share of positive ones."""
    return f"{counts[2] / sum(counts):.0%}" if sum(counts) else ""
