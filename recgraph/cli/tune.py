"""`recgraph tune`: the settings that foretell the last weeks best, for the next training."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from recgraph import tuned
from recgraph.cli.base import AsJson, app, bar, err, report
from recgraph.config import Settings, load_settings
from recgraph.errors import InputError
from recgraph.stages import Stages
from recgraph.tuned import Tuned, TunedTrial

_SHOWN = 20
"""Tries in the table at the end."""


@app.command(rich_help_panel="Model")
def tune(
    minutes: Annotated[float, typer.Option(min=0.01, help="Longest search.")] = 10.0,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Tries at most; unset, the time counts.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Only show what was found last.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Only forget it: train with the defaults again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Search the settings that foretell the last weeks best; the next training uses them.

    They are chosen on the weeks before the test period of `recgraph train`, which is never looked
    at. The search begins with the present settings, and is saved only when it finds better ones.
    What the environment or recgraph.toml says goes before what was found, and that before the
    defaults. Spark reads the events; the search itself takes about 1 GB of memory for 5 million
    interactions, and samples users above that.
    """
    if show and forget:
        message = "--show and --forget exclude each other; give one of them"
        raise InputError(message)
    settings = load_settings()
    if forget:
        had_one = tuned.forget_tuned(settings.tuned_path)
        report({"forgotten": had_one}, as_json=as_json, render=_render_forgotten)
        return
    if show:
        report(_summary(_read(settings), saved=True), as_json=as_json, render=render_tuned)
        return
    found = _search(tuned.with_tuned(settings).settings, minutes, trials)
    if found.is_better:
        tuned.write_tuned(settings.tuned_path, found)
    report(_summary(found, saved=found.is_better), as_json=as_json, render=render_tuned)


def _read(settings: Settings) -> Tuned:
    found = tuned.read_tuned(settings.tuned_path)
    if found is None:
        message = f"{settings.tuned_path} is not there: nothing was tuned yet, or it was forgotten."
        raise InputError(message)
    return found


def _search(settings: Settings, minutes: float, trials: int | None) -> Tuned:
    from recgraph import jobs
    from recgraph.jobs import tuning
    from recgraph.jobs.source import require_source

    require_source(settings)
    stages = Stages(err.print)
    with jobs.open_spark(settings, stages) as spark:
        gathered = tuning.gather_events(spark, settings, stages)
    err.print(_said_of(gathered.on), highlight=False, soft_wrap=True)
    budget = tuning.Budget(minutes, trials)
    with bar("searching") as advance:
        began, tries = time.monotonic(), 0

        def on_trial(trial: TunedTrial) -> None:
            nonlocal tries
            tries += 1
            err.print(_line(tries, trial), highlight=False, soft_wrap=True)
            seconds = int(time.monotonic() - began)
            advance(*((tries, trials) if trials else (seconds, int(minutes * 60))))

        return tuning.search(gathered, settings, budget, on_trial)


def _said_of(on: Mapping[str, Any]) -> str:
    share = on["sampled_share_of_users"]
    sampled = "" if share == 1 else f", a sample of {share:.1%} of the users"
    return (
        f"{on['interactions']:,} interactions of {on['users']:,} users and {on['items']:,} "
        f"items{sampled}; nothing from {on['validation_to']:%Y-%m-%d} on is looked at"
    )


def _line(number: int, trial: TunedTrial) -> str:
    """One try as a line of the table that grows."""
    values = "  ".join(f"{name} {_value(value)}" for name, value in trial.settings.items())
    return f"  {number:>3}  {trial.value:.4f}  {trial.seconds:5.1f} s  {values}"


def _value(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _summary(found: Tuned, *, saved: bool) -> dict[str, Any]:
    summary: dict[str, Any] = msgspec.to_builtins(found)
    return summary | {"saved": saved}


def render_tuned(summary: Mapping[str, Any]) -> RenderableType:
    """The tries, best first, and what came of them."""
    sign = 1 if summary["measure"] == "RMSE" else -1
    trials = enumerate((TunedTrial(**each) for each in summary["trials"]), 1)
    ranked = sorted(trials, key=lambda each: sign * each[1].value)
    lines = [Text(_line(*each), overflow="fold") for each in ranked[:_SHOWN]]
    return Group(Text("tries, best first", style="italic"), *lines, _verdict(summary))


def _verdict(summary: Mapping[str, Any]) -> Text:
    before, after = summary["value_before"], summary["value"]
    figures = f"{summary['measure']}: {after:.4f}, the settings before {before:.4f}"
    if summary["saved"]:
        return Text(f"{figures}. The next training uses the best of these.", style="green")
    return Text(f"{figures}. Nothing better was found: nothing is saved.", style="yellow")


def _render_forgotten(summary: Mapping[str, Any]) -> RenderableType:
    if summary["forgotten"]:
        return Text("forgotten: the next training uses the defaults, and what is set by hand")
    return Text("there was nothing to forget")
