"""`recgraph train`: the event table -> one generation."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from recgraph.cli.base import AsJson, app, err, report
from recgraph.config import load_settings
from recgraph.stages import Stages

_TASKS = {"next_basket": "next basket", "new_items": "new items"}


@app.command(rich_help_panel="Model")
def train(as_json: AsJson = False) -> None:
    """Train on all events taken in so far; write one complete generation.

    The last weeks are held back first, to measure the model against the popular list and the
    user's own repeats; then it is trained on everything. Settings such as RECGRAPH_N_FACTORS,
    RECGRAPH_K or RECGRAPH_FEEDBACK=explicit change what is made.
    """
    from recgraph import jobs
    from recgraph.jobs import training

    settings = load_settings()
    training.require_events(settings)
    stages = Stages(err.print)
    with jobs.open_spark(settings, stages) as spark:
        manifest = training.train(spark, settings, stages)
    report(training.training_summary(manifest), as_json=as_json, render=render_training)


def render_training(summary: Mapping[str, Any]) -> RenderableType:
    """The tables that a person reads after a training."""
    return Group(_counts(summary), _ranking(summary), _errors(summary), _seconds(summary))


def _counts(summary: Mapping[str, Any]) -> RenderableType:
    table = Table(title=f"generation {summary['generation']}", title_justify="left")
    names = ("events", "users", "items", "interactions", "density", "recommendations")
    for name in names:
        table.add_column(name, justify="right")
    counts = [f"{summary[name]:,}" for name in names if name != "density"]
    table.add_row(*counts[:4], f"{summary['density']:.3%}", counts[4])
    return table


def _ranking(summary: Mapping[str, Any]) -> RenderableType:
    metrics = summary["metrics"]
    if metrics.note:
        return Text(f"not measured: {metrics.note}", style="yellow")
    k = metrics.ranking[0].k
    days = f"the last {metrics.test_days:.0f} days held back"
    table = Table(title=f"lists of {k}, {days}", title_justify="left")
    for name in ("task", "recommender"):
        table.add_column(name)
    for name in (f"nDCG@{k}", f"recall@{k}", "coverage", "users"):
        table.add_column(name, justify="right")
    for row in metrics.ranking:
        style = "bold" if row.recommender == "als" else None
        numbers = (
            f"{row.ndcg:.4f}",
            f"{row.recall:.4f}",
            f"{row.coverage:.2%}",
            f"{row.n_users:,}",
        )
        table.add_row(_TASKS[row.task], row.recommender, *numbers, style=style)
    return table


def _errors(summary: Mapping[str, Any]) -> RenderableType:
    title = {
        "implicit": "errors against 1 (bought) and 0 (as many not bought)",
        "explicit": "errors on the ratings held back",
    }[summary["feedback"]]
    table = Table("predictor", "RMSE", "MAE", "pairs", title=title, title_justify="left")
    for row in summary["metrics"].errors:
        table.add_row(row.predictor, f"{row.rmse:.4f}", f"{row.mae:.4f}", f"{row.n_pairs:,}")
    return table


def _seconds(summary: Mapping[str, Any]) -> RenderableType:
    spent = (f"{stage} {seconds:.1f} s" for stage, seconds in summary["seconds"].items())
    return Text("  ".join(spent), style="dim")
