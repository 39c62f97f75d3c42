"""`recgraph evaluate`: how good the recommender is on a split of one's own."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from recgraph.cli.base import AsJson, app, err, report
from recgraph.config import Settings, load_settings
from recgraph.errors import InputError
from recgraph.splits import Split
from recgraph.stages import Stages

_RANKING = ("ndcg", "recall", "precision", "map", "hit_rate", "coverage")
_ERRORS = ("rmse", "rmse_low", "rmse_high", "mae", "mae_low", "mae_high")
_EXPONENTS = (0.0, 0.5, 1.0)
"""Growths of the penalty that a search tries."""
_GUESSED = {
    True: "settings for what comes next; --validation random, if the test is what is missing",
    False: "settings for what is missing; --validation time, if the test is what comes next",
}
"""What is said of given files."""
_SPELLED = {"ndcg": "nDCG", "map": "MAP", "hit_rate": "hit rate", "rmse": "RMSE", "mae": "MAE"}
_SPELLED |= {f"{name}_{end}": end for name in ("rmse", "mae") for end in ("low", "high")}


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
        Path | None, typer.Option(help="CSV: user_id,item_id and, if any, rating and timestamp.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="CSV of what is to be foretold.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="CSV to part into both; in place of --train and --test.")
    ] = None,
    split: Annotated[
        Split,
        typer.Option(
            help="How --data is parted. time: the last days (RECGRAPH_TEST_DAYS). last-basket: "
            "each user's last moment. users: in folds, and who is asked is folded in. random: a "
            "fifth of each user's items."
        ),
    ] = Split.time,
    folds: Annotated[int, typer.Option(min=2, help="Folds of --split users.")] = 5,
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
            help="Settings are chosen for what comes next (on the last part of the time), or for "
            "what is missing (on a random share of each user's rows). auto: as --data is split; of "
            "given files by time, where there are timestamps and the same is bought again."
        ),
    ] = Validation.auto,
    include_seen: Annotated[
        bool, typer.Option(help="Leave in the lists what the user has already.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score the recommender on any split, beside honest baselines.

    The settings are searched on a part of what may be learned from; the answers of the test are
    looked at once, at the end. The folder then has metrics.json (with the settings that were
    chosen), recommendations.csv (user_id,item_id,rank,score) and, for ratings, predictions.csv, so
    that anybody can score it again. All is done in memory, on the local engine, without Spark,
    whatever RECGRAPH_ENGINE says.
    """
    from recgraph import offline

    settings = load_settings()
    stages = Stages(err.print)
    is_explicit = feedback is Feedback.explicit
    if is_explicit and split is Split.users and data is not None:
        message = "ratings of users whom the model never saw cannot be predicted: --split random"
        raise InputError(message)
    with stages("read", f"reading {data or f'{train} and {test}'}"):
        if data is not None and train is None and test is None:
            found = _read_parted(data, split, folds, settings, needs_rating=is_explicit)
        elif data is None and train is not None and test is not None:
            found = _read_given(train, test, settings, needs_rating=is_explicit)
        else:
            message = "give either --data FILE, or both --train FILE and --test FILE"
            raise InputError(message)
    known, asked = found.known, [fold.test for fold in found.folds]
    by_time = _validates_by_time(validation, None if data is None else split, is_explicit, known)
    if data is None and validation is Validation.auto:
        err.print(_GUESSED[by_time], highlight=False, soft_wrap=True)
    search = _Search(known, k, tune_minutes, trials, by_time, settings.seed, stages)
    if is_explicit:
        chosen, lists = search.explicit()
        with stages("fit", "fitting and scoring"):
            (fold,) = found.folds
            outcome = offline.evaluate_explicit(known, fold, chosen, lists, k=k)
    else:
        chosen = search.implicit(exclude_seen=not include_seen)
        with stages("fit", "fitting and scoring"):
            outcome = offline.evaluate_implicit(
                known, found.folds, chosen, k=k, exclude_seen=not include_seen
            )
    summary = {
        "feedback": feedback.value,
        "k": k,
        "split": "given files" if data is None else split.value,
        "settings_for": "what comes next" if by_time else "what is missing",
        "train": _sizes(known),
        "test": _test_sizes(asked),
        "capped_users": found.capped,
        "settings": chosen,
        "tuning": search.summary,
        "ranking": outcome.ranking,
        "errors": outcome.errors,
        "seconds": stages.seconds,
        "output": str(output),
    }
    offline.write(outcome, summary, output)
    report(summary, as_json=as_json, render=render_evaluation)


class _Found(NamedTuple):
    """What was read."""

    known: Any
    folds: list[Any]
    capped: dict[str, int]


def _read_given(train: Path, test: Path, settings: Settings, *, needs_rating: bool) -> _Found:
    from recgraph import dataset
    from recgraph.folds import Fold

    data = dataset.read_dataset(train, needs_rating=needs_rating)
    known, capped = dataset.cap_users(data, settings.max_user_events)
    asked = dataset.read_test(test, known, needs_rating=needs_rating)
    return _Found(known, [Fold(known.rows, asked)], capped)


def _read_parted(
    path: Path, split: Split, n_folds: int, settings: Settings, *, needs_rating: bool
) -> _Found:
    from recgraph import dataset
    from recgraph.folds import part

    data = dataset.read_dataset(path, needs_rating=needs_rating)
    data, capped = dataset.cap_users(data, settings.max_user_events)
    days, seed = settings.test_days, settings.seed
    return _Found(*part(data, split, test_days=days, n_folds=n_folds, seed=seed), capped)


def _validates_by_time(
    wish: Validation, split: Split | None, is_explicit: bool, known: Any
) -> bool:
    """Whether settings are chosen on the last of the time: what resembles the test is best."""
    from recgraph import defaults

    if wish is not Validation.auto:
        return wish is Validation.time
    if split is None:
        return not is_explicit and defaults.are_sales(known.rows, known.shape)
    return split in (Split.time, Split.last_basket)


class _Search:
    """The search of settings, with a line for each try."""

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
        from recgraph import defaults, tuning
        from recgraph.validation import hold_out

        rows, shape = self._known.rows.counted(), self._known.shape
        with self._stages("defaults", "choosing the defaults"):
            start = defaults.default_choice(
                rows, shape, exclude_seen=exclude_seen, by_time=self._by_time, seed=self._seed
            )
        if not self._minutes:
            return start
        with self._stages("tune", f"searching settings, {self._minutes:g} minutes"):
            held_out = hold_out(
                rows, shape, exclude_seen=exclude_seen, by_time=self._by_time, seed=self._seed
            )
            found = tuning.tune(
                held_out,
                start,
                k=self._k,
                minutes=self._minutes,
                max_trials=self._trials,
                exponents=_EXPONENTS,
                seed=self._seed,
                on_trial=lambda trial: self._show(f"nDCG@{self._k}", trial.value, trial.choice),
            )
        self.summary |= {"validation": found.value, "validation_of_defaults": found.start_value}
        if found.best == start:
            err.print("nothing was surely better than the defaults: they stay")
        return found.best

    def explicit(self) -> Any:
        from recgraph import defaults, explicit

        rows, shape = self._known.rows, self._known.shape
        with self._stages("defaults", "choosing the defaults"):
            lists = defaults.default_choice(
                rows.counted(), shape, by_time=self._by_time, seed=self._seed
            )
        start = explicit.default_choice(rows, n_factors=32, seed=self._seed)
        if not self._minutes:
            return start, lists
        with self._stages("tune", f"searching settings, {self._minutes:g} minutes"):
            found = explicit.tune(
                rows,
                shape,
                start,
                minutes=self._minutes,
                by_time=self._by_time,
                max_trials=self._trials,
                on_trial=lambda choice, value: self._show("RMSE", value, choice),
            )
        self.summary |= {"validation": found.value, "validation_of_defaults": found.start_value}
        return found.best, lists

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


def _test_sizes(tests: list[Any]) -> dict[str, int]:
    def total(count: Callable[[Any], Any]) -> int:
        return int(sum(count(test) for test in tests))

    return {
        "users": total(lambda test: len(test.user_ids)),
        "unknown_users": total(lambda test: (test.users < 0).sum()),
        "pairs": total(lambda test: len(test.items)),
        "pairs_of_unknown_items": total(lambda test: (test.items < 0).sum()),
        "left_out": tests[0].n_left_out,
    }


def render_evaluation(summary: Mapping[str, Any]) -> RenderableType:
    """The tables that a person reads."""
    ranking = _table(f"lists of {summary['k']}", summary["ranking"], _RANKING)
    errors = _table("ratings", summary["errors"], _ERRORS)
    tables = [errors, ranking] if summary["errors"] else [ranking]
    capped = ", ".join(f"{user} ({n:,} rows)" for user, n in summary["capped_users"].items())
    notes = [Text(f"only the newest rows of: {capped}", style="yellow")] if capped else []
    return Group(*tables, *notes, Text(f"results are in {summary['output']}"))


def _table(title: str, found: Mapping[str, Any], names: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in names:
        table.add_column(_SPELLED.get(name, name), justify="right")
    for recommender, values in found.items():
        table.add_row(
            recommender, *(f"{values[name]:.4f}" if name in values else "" for name in names)
        )
    return table
