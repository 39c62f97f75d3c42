"""Figures of evaluation models -> whether the new generation may be published, and why not.

All models that are compared were trained before the same cut and measured on the same events after
it; the refitted model, which has seen those events, is never measured. Implicit feedback is judged
by nDCG@k on the task that the lists are made for, explicit feedback by RMSE (docs/adr/0008).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from recgraph.config import Settings
from recgraph.generations import Check, Metrics, Verdict

Task = Literal["next_basket", "new_items"]

CURRENT = "current"
"""What a check calls the model with the settings of the current generation."""
BASELINES: Mapping[Task, tuple[str, ...]] = {
    "new_items": ("popular", "recent"),
    "next_basket": ("popular", "repeats"),
}
"""The model must keep up with the best of these on a task."""
PREDICTOR, CONSTANT = "als", "constant"
"""Whose errors are judged, and against whose."""

_NOT_OF_THE_MODEL = {
    "test_days", "test_share", "rating_prior", "k", "exclude_seen", "max_per_category",
    "popularity_discount",
}  # fmt: skip
"""Training settings that say how lists are made and measured: the present ones hold for both."""


class Rules(NamedTuple):
    """How a generation is judged."""

    feedback: Literal["implicit", "explicit"]
    task: Task
    """What the lists are made for."""
    k: int
    margin: float
    """How much worse the model may be, as a share of what it is compared with."""
    min_measured: int
    """With fewer test users (implicit) or test ratings (explicit), nothing is decided."""


class _Figure(NamedTuple):
    """What one recommender or predictor reached, and on how many users or ratings."""

    value: float
    n_measured: int


class _Reference(NamedTuple):
    against: str
    value: float
    margin: float


def task_of(*, exclude_seen: bool) -> Task:
    """The task that decides: lists without what is bought already, or lists of anything."""
    return "new_items" if exclude_seen else "next_basket"


def judge(new: Metrics, current: Metrics | None, rules: Rules) -> Verdict:
    """What the gate says of a generation; `reason_of` words each check that failed.

    Parameters
    ----------
    new
        What its evaluation model and the baselines did.
    current
        What the model with the settings of the current generation did on the same events; None
        when there is none, or when its settings are the same.
    """
    checks, notes = _broken(new, rules), []
    ours = _figures(new, rules).get(_judged(new, rules))
    if ours is None:
        notes.append(f"not measured: {new.note or 'the test period has nothing of this task'}")
    elif ours.n_measured < rules.min_measured:
        notes.append(f"not judged: measured on {ours.n_measured}, {rules.min_measured} are needed")
    elif not checks:
        checks = [_check(ours.value, each, rules) for each in _references(new, current, rules)]
        notes += _better_alone(new, rules)
    failed = [check for check in checks if not check.passed]
    reasons = [reason_of(check, rules.margin) for check in failed]
    return Verdict(not failed, reasons, checks, notes=notes)


def reason_of(check: Check, margin: float) -> str:
    """The check that failed as one line."""
    figure = "RMSE" if check.measure == "rmse" else f"{check.task} nDCG@{check.k}"
    if check.value is None or check.reference is None:
        return f"{figure} is no finite number"
    side = "above" if check.measure == "rmse" else "below"
    against = "that of the current settings" if check.against == CURRENT else check.against
    slack = "" if check.limit == check.reference else f" by more than {margin:.1%}"
    return f"{figure} {check.value:.3g} is {side} {against} {check.reference:.3g}{slack}"


def _better_alone(new: Metrics, rules: Rules) -> list[str]:
    """A note where a part of the blend alone foretells better than the blend, by the margin."""
    model = _judged(new, rules)
    values_of = {name: figure.value for name, figure in _figures(new, rules).items()}
    parts = {part: values_of.get(part, math.nan) for part in model.split("+") if part != model}
    limit = values_of[model] * (1 + rules.margin)
    better = {part: value for part, value in parts.items() if value > limit}
    if not better:
        return []
    best = max(better, key=better.__getitem__)
    values = f"{better[best]:.3g}, {model} {values_of[model]:.3g}"
    return [f"{best} alone has a {rules.task} nDCG@{rules.k} of {values}: try `recgraph tune`"]


def finite(metrics: Metrics) -> Metrics:
    """The metrics without the rows whose figure is NaN or infinite, which JSON cannot hold."""
    return msgspec.structs.replace(
        metrics,
        ranking=[row for row in metrics.ranking if math.isfinite(row.ndcg)],
        errors=[row for row in metrics.errors if math.isfinite(row.rmse)],
    )


def _judged(metrics: Metrics, rules: Rules) -> str:
    return PREDICTOR if rules.feedback == "explicit" else metrics.model


def _figures(metrics: Metrics, rules: Rules) -> dict[str, _Figure]:
    """Recommender or predictor -> the figure that decides."""
    if rules.feedback == "explicit":
        return {row.predictor: _Figure(row.rmse, row.n_pairs) for row in metrics.errors}
    return {
        row.recommender: _Figure(row.ndcg, row.n_users)
        for row in metrics.ranking
        if row.task == rules.task
    }


def _broken(new: Metrics, rules: Rules) -> list[Check]:
    """A failed check for each kind of figure of the model that is no finite number."""
    found = []
    for feedback in ("implicit", "explicit"):  # predictions that are NaN break lists, too
        of_kind = rules._replace(feedback=feedback)
        ours = _figures(new, of_kind).get(_judged(new, of_kind))
        if ours is not None and not math.isfinite(ours.value):
            found.append(_check(ours.value, None, of_kind))
    return found


def _references(new: Metrics, current: Metrics | None, rules: Rules) -> Iterator[_Reference]:
    """What the model has to keep up with; what is no finite number is no reference."""
    theirs = {name: figure.value for name, figure in _figures(new, rules).items()}
    theirs = {name: value for name, value in theirs.items() if math.isfinite(value)}
    if rules.feedback == "explicit":
        if CONSTANT in theirs:
            yield _Reference(CONSTANT, theirs[CONSTANT], 0.0)
    elif known := [name for name in BASELINES[rules.task] if name in theirs]:
        best = max(known, key=theirs.__getitem__)
        yield _Reference(best, theirs[best], rules.margin)
    if current is not None:
        figure = _figures(current, rules).get(_judged(current, rules))
        if figure is not None and math.isfinite(figure.value):
            yield _Reference(CURRENT, figure.value, rules.margin)


def _check(value: float, reference: _Reference | None, rules: Rules) -> Check:
    """Whether a figure is as good as a reference, within its margin; never without one."""
    is_error = rules.feedback == "explicit"
    limit = None
    if reference is not None:
        limit = reference.value * (1 + reference.margin * (1 if is_error else -1))
    return Check(
        measure="rmse" if is_error else "ndcg",
        task=None if is_error else rules.task,
        k=None if is_error else rules.k,
        against=reference.against if reference else None,
        value=value if math.isfinite(value) else None,
        reference=reference.value if reference else None,
        limit=limit,
        passed=limit is not None and (value <= limit if is_error else value >= limit),
    )


def settings_before(made_with: Mapping[str, object], settings: Settings) -> Settings:
    """The present settings, but for those of the model, which are as they were.

    Parameters
    ----------
    made_with
        `Manifest.settings` of an earlier generation. A setting that it does not know yet stays as
        it is now: nobody can say what it was.
    """
    changed = {
        name: value
        for name, value in made_with.items()
        if name in Settings.model_fields
        and name not in _NOT_OF_THE_MODEL
        and value != msgspec.to_builtins(getattr(settings, name))
    }
    return settings.model_copy(update=changed) if changed else settings
