"""`recgraph train`: the event table -> one generation."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from recgraph.cli.base import AsJson, app, err, report
from recgraph.config import TrainOn, load_settings
from recgraph.stages import Stages
from recgraph.tuned import with_tuned

_TASKS = {"next_basket": "next basket", "new_items": "new items"}


@app.command(rich_help_panel="Model")
def train(
    against: Annotated[
        str | None,
        typer.Option(help="Generation to keep up with; unset, the newest complete one."),
    ] = None,
    on: Annotated[
        TrainOn | None,
        typer.Option(help="Sale events or reviews; unset, the setting RECGRAPH_TRAIN_ON."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train on all events taken in so far; write one generation.

    The last weeks are held back first, to measure the model against the popular lists and the
    user's own repeats; then it is trained on everything. Settings such as RECGRAPH_N_FACTORS,
    RECGRAPH_K or RECGRAPH_FEEDBACK=explicit change what is made; those that `recgraph tune` found
    are used where none is given. --json has every metric.

    A model that does worse than the popular lists, or than the settings of the generation before,
    makes a rejected generation: it is kept to be looked at, and not published. RECGRAPH_GATE_MARGIN
    says how much worse it may be.

    On reviews the feedback is explicit unless a setting says otherwise: the last rating that a user
    gave a product is what is to be predicted.

      recgraph train --on reviews
    """
    from recgraph import jobs
    from recgraph.jobs import training
    from recgraph.jobs.source import require_source

    settings, note = with_tuned(load_settings(train_on=on))
    require_source(settings)
    stages = Stages(err.print)
    if note:
        err.print(note, highlight=False)
    with jobs.open_spark(settings, stages) as spark:
        manifest = training.train(spark, settings, stages, current=against)
    report(training.training_summary(manifest), as_json=as_json, render=render_training)


def render_training(summary: Mapping[str, Any]) -> RenderableType:
    """The tables that a person reads after a training."""
    parts = (_counts, _ranking, _errors, _verdict, _seconds)
    return Group(*_capped(summary), *(part(summary) for part in parts))


def _capped(summary: Mapping[str, Any]) -> list[Text]:
    """The users of whose events only the newest counted."""
    users = summary["capped_users"]
    named = ", ".join(f"{user} ({n:,} events)" for user, n in users.items())
    return [Text(f"only the newest events counted of: {named}", style="yellow")] if users else []


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
    for name in (f"nDCG@{k}", "95 % interval", f"recall@{k}", "coverage", "users"):
        table.add_column(name, justify="right")
    for row in metrics.ranking:
        style = "bold" if row.recommender == metrics.model else None
        numbers = (
            f"{row.ndcg:.4f}",
            _between(row.ndcg_low, row.ndcg_high),
            f"{row.recall:.4f}",
            f"{row.coverage:.2%}",
            f"{row.n_users:,}",
        )
        table.add_row(_TASKS[row.task], row.recommender, *numbers, style=style)
    return table


def _between(low: float | None, high: float | None) -> str:
    """An interval; an older manifest has none."""
    return "" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def _errors(summary: Mapping[str, Any]) -> RenderableType:
    title = {
        "implicit": "errors against 1 (bought) and 0 (as many not bought)",
        "explicit": "errors on the ratings held back",
    }[summary["feedback"]]
    names = ("predictor", "RMSE", "95 % interval", "MAE", "95 % interval", "pairs")
    table = Table(*names, title=title, title_justify="left")
    for row in summary["metrics"].errors:
        squared = _between(row.rmse_low, row.rmse_high)
        absolute = _between(row.mae_low, row.mae_high)
        numbers = (f"{row.rmse:.4f}", squared, f"{row.mae:.4f}", absolute, f"{row.n_pairs:,}")
        table.add_row(row.predictor, *numbers)
    return table


def _verdict(summary: Mapping[str, Any]) -> RenderableType:
    """The line that says whether the generation may be published."""
    verdict = summary["verdict"]
    if not verdict.passed:
        publish = f"Even so: recgraph publish {summary['generation']} --even-if-rejected"
        return Text(f"rejected: {summary['reason']}. {publish}", style="bold red")
    against = ", ".join(check.against for check in verdict.checks)
    passed = f"passed: not worse than {against}" if against else "passed"
    return Text("; ".join([passed, *verdict.notes]), style="green")


def _seconds(summary: Mapping[str, Any]) -> RenderableType:
    spent = (f"{stage} {seconds:.1f} s" for stage, seconds in summary["seconds"].items())
    return Text("  ".join(spent), style="dim")
