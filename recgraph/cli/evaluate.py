"""`recgraph evaluate`: how good the recommender is on a split of one's own."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from recgraph.cli.base import AsJson, app, err, report
from recgraph.config import load_settings
from recgraph.stages import Stages

_RANKING = ("ndcg", "recall", "precision", "map", "hit_rate", "coverage")
_SPELLED = {"ndcg": "nDCG", "map": "MAP", "hit_rate": "hit rate", "rmse": "RMSE", "mae": "MAE"}


class Feedback(StrEnum):
    """What the interactions are."""

    implicit = "implicit"
    explicit = "explicit"


class Validation(StrEnum):
    """What is held out of the training file to choose the settings on."""

    auto = "auto"
    time = "time"
    random = "random"


@app.command(rich_help_panel="Model")
def evaluate(
    train: Annotated[
        Path, typer.Option(help="CSV: user_id,item_id and, if any, rating and timestamp.")
    ],
    test: Annotated[Path, typer.Option(help="CSV of what is to be foretold.")],
    feedback: Annotated[
        Feedback, typer.Option(help="implicit: purchases. explicit: ratings, to be predicted.")
    ] = Feedback.implicit,
    k: Annotated[int, typer.Option(min=1, max=1000, help="Length of the lists.")] = 20,
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("evaluation"),
    tune_minutes: Annotated[
        float,
        typer.Option(min=0, help="Longest search of settings; 0 takes the defaults."),
    ] = 10.0,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Tries of the search at most; unset, the time counts.")
    ] = None,
    validation: Annotated[
        Validation,
        typer.Option(
            help="Settings are chosen on the last part of the time, or on a random share of each "
            "user's rows. auto: by time where there are timestamps and no ratings."
        ),
    ] = Validation.auto,
    include_seen: Annotated[
        bool, typer.Option(help="Leave in the lists what the user has already.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score the recommender on any split, beside honest baselines.

    The settings are searched on a part of the training file; the answers of the test file are
    looked at once, at the end. The folder then has metrics.json (with the settings that were
    chosen), recommendations.csv (user_id,item_id,rank,score) and, for ratings, predictions.csv, so
    that anybody can score them again. All is done in memory, without Spark.
    """
    from recgraph import dataset, offline

    seed = load_settings().seed
    stages = Stages(err.print)
    is_explicit = feedback is Feedback.explicit
    with stages("read", f"reading {train} and {test}"):
        known = dataset.read_dataset(train, needs_rating=is_explicit)
        asked = dataset.read_test(test, known, needs_rating=is_explicit)
    by_time = validation is Validation.time or (validation is Validation.auto and not is_explicit)
    chosen = _Search(known, k, tune_minutes, trials, by_time, seed, stages)
    if is_explicit:
        settings, lists = chosen.explicit()
        with stages("fit", "fitting and scoring"):
            outcome = offline.evaluate_explicit(known, asked, settings, lists, k=k)
    else:
        settings = chosen.implicit(exclude_seen=not include_seen)
        with stages("fit", "fitting and scoring"):
            outcome = offline.evaluate_implicit(
                known, asked, settings, k=k, exclude_seen=not include_seen
            )
    summary = {
        "feedback": feedback.value,
        "k": k,
        "train": _sizes(known),
        "test": _test_sizes(asked),
        "settings": settings,
        "tuning": chosen.summary,
        "ranking": outcome.ranking,
        "errors": outcome.errors,
        "seconds": stages.seconds,
        "output": str(output),
    }
    offline.write(outcome, summary, output)
    report(summary, as_json=as_json, render=render_evaluation)


class _Search:
    """The search of settings, with a line for each better try."""

    def __init__(
        self,
        known: Any,
        k: int,
        minutes: float,
        trials: int | None,
        by_time: bool,
        seed: int,
        stages: Stages,
    ) -> None:
        self.summary: dict[str, Any] = {"minutes": minutes, "trials": 0, "validation": None}
        self._known, self._k, self._stages = known, k, stages
        self._minutes, self._trials, self._by_time, self._seed = minutes, trials, by_time, seed

    def implicit(self, *, exclude_seen: bool) -> Any:
        from recgraph import tuning

        rows, shape = self._known.rows, self._known.shape
        if not self._minutes:
            return tuning.default_choice(rows, shape)
        with self._stages("tune", f"searching settings, {self._minutes:g} minutes"):
            found = tuning.tune(
                rows,
                shape,
                k=self._k,
                minutes=self._minutes,
                exclude_seen=exclude_seen,
                by_time=self._by_time,
                max_trials=self._trials,
                seed=self._seed,
                on_trial=lambda trial: self._show(f"nDCG@{self._k}", trial.value, trial.choice),
            )
        self.summary |= {"trials": len(found.trials), "validation": found.value}
        return found.best

    def explicit(self) -> Any:
        from recgraph import explicit, tuning

        rows, shape = self._known.rows, self._known.shape
        lists = tuning.default_choice(rows, shape)
        if not self._minutes:
            return explicit.Choice(seed=self._seed), lists
        with self._stages("tune", f"searching settings, {self._minutes:g} minutes"):
            best, value = explicit.tune(
                rows,
                shape,
                minutes=self._minutes,
                by_time=self._by_time,
                max_trials=self._trials,
                seed=self._seed,
                on_trial=lambda choice, value: self._show("RMSE", value, choice),
            )
        self.summary["validation"] = value
        return best, lists

    def _show(self, metric: str, value: float, choice: Any) -> None:
        self.summary["trials"] += 1
        err.print(
            f"  {self.summary['trials']:>3}  {metric} {value:.4f}  {choice.n_factors} factors, "
            f"regularization {choice.regularization:.3g}",
            highlight=False,
        )


def _sizes(known: Any) -> dict[str, int]:
    n_users, n_items = known.shape
    return {
        "users": n_users,
        "items": n_items,
        "rows": len(known.rows.users),
        "left_out": known.n_left_out,
    }


def _test_sizes(asked: Any) -> dict[str, int]:
    return {
        "users": len(asked.user_ids),
        "unknown_users": int((asked.users < 0).sum()),
        "pairs": len(asked.items),
        "pairs_of_unknown_items": int((asked.items < 0).sum()),
        "left_out": asked.n_left_out,
    }


def render_evaluation(summary: Mapping[str, Any]) -> RenderableType:
    """The tables that a person reads."""
    ranking = _table(f"lists of {summary['k']}", summary["ranking"], _RANKING)
    errors = _table("ratings", summary["errors"], ("rmse", "mae"))
    tables = [errors, ranking] if summary["errors"] else [ranking]
    return Group(*tables, Text(f"results are in {summary['output']}"))


def _table(title: str, found: Mapping[str, Any], names: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in names:
        table.add_column(_SPELLED.get(name, name), justify="right")
    for recommender, values in found.items():
        table.add_row(recommender, *(f"{values[name]:.4f}" for name in names))
    return table
