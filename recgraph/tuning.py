"""Interactions with a part held out -> the settings that foretell it best; a seeded search.

It never sees the test. The walk and the repeats are searched first, beside the ALS of the start: so
far one fit does. Then, for each ALS that Optuna proposes, every weight is tried on the same
validation users: fitting is what costs, blending is nearly free.
"""

import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import optuna

from recgraph.bench import Bench, half_lives
from recgraph.dataset import Rows
from recgraph.model import Floats
from recgraph.recommender import Choice
from recgraph.validation import Validation

OnTrial = Callable[["Trial"], None]

_N_FACTORS = (32, 64, 128, 256)
_N_ITERATIONS = (5, 10, 15)
TRANSFORMS = ("count", "log", "binary", "cap", "bm25")
_PATIENCE = 30
"""A search ends after so many tries without a better one."""
_REGULARIZATIONS = (3e-4, 1.0)
"""Times `_scale`: 0.3 to 1,000 for a plain penalty."""
_ALPHAS = (0.3, 100.0)
_FIRST_SHARE = 0.25
"""Share of the budget after which the search of the walk ends."""


class Trial(NamedTuple):
    """One try."""

    number: int
    choice: Choice
    value: float
    """Mean nDCG@k on the validation."""
    seconds: float


class Found(NamedTuple):
    """What a search found."""

    best: Choice
    value: float
    start_value: float
    """What the settings did that the search began with."""
    trials: list[Trial]


def tune(
    held_out: Validation,
    start: Choice,
    *,
    k: int,
    minutes: float,
    max_trials: int | None = None,
    exponents: tuple[float, ...] = (0.0,),
    seed: int = 42,
    on_trial: OnTrial = lambda trial: None,
) -> Found:
    """The best settings for implicit feedback within a budget; the first try is ``start``.

    The second has the same ALS, which is not fitted again, beside the walk that was found. What is
    best of many is best by chance, too: the start stays unless the difference, user by user, is
    more than two standard errors.

    Parameters
    ----------
    minutes, max_trials
        The search ends when either is used up, or when no fit would end in time any more; the
        first fit is finished whatever it takes.
    exponents
        How penalties may grow with the number of ratings: `Choice.exponent`.
    """
    if len(held_out.users) == 0:
        return Found(start, float("nan"), float("nan"), [])
    budget, bench = _Budget(minutes * 60), Bench(held_out, k)
    trials: list[Trial] = []
    by_user: list[Floats] = []

    def keep(choice: Choice, values: Floats, began: float) -> float:
        value = float(values.mean())
        trials.append(Trial(len(trials), choice, value, time.monotonic() - began))
        by_user.append(values)
        budget.spent(trials[-1])
        on_trial(trials[-1])
        return value

    keep(start, bench.measure(start), time.monotonic() - budget.used)
    if not budget.is_over and max_trials != 1:
        first = bench.best_repeats(bench.best_walk(start, budget.until(_FIRST_SHARE)))
        space = _Space(held_out.train, start, exponents)

        def try_als(trial: optuna.Trial) -> float:
            began = time.monotonic()
            proposed = msgspec.structs.replace(first, **space.proposed(trial))
            budget.check(proposed, trial, is_first=len(trials) == 1)
            return keep(*bench.best_weights(proposed), began)

        n = None if max_trials is None else max_trials - 1
        search(try_als, first=space.parameters(start), direction="maximize", seed=seed, n=n)
    best = max(trials, key=lambda trial: trial.value)
    if not _is_surely_better(by_user[best.number], by_user[0]):
        best = trials[0]
    return Found(best.choice, best.value, trials[0].value, trials)


def _is_surely_better(values: Floats, than: Floats) -> bool:
    """Whether the mean over the same users differs by more than two standard errors."""
    differences = values - than
    return bool(differences.mean() > 2 * differences.std() / np.sqrt(len(differences)))


class _Budget:
    """What is left of the time; a fit takes as long as its factors and sweeps let it."""

    def __init__(self, seconds: float) -> None:
        self._began, self._seconds = time.monotonic(), seconds
        self._rates: list[float] = []

    @property
    def used(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    @property
    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self.used >= self._seconds

    def until(self, share: float) -> float:
        """When so large a share of the time is used up, on the monotonic clock."""
        return self._began + share * self._seconds

    def check(self, choice: Choice, trial: optuna.Trial, *, is_first: bool) -> None:
        """Leave out a try that would not end in time; end the search where none would.

        The first one needs no fit.
        """
        left, rate = self._seconds - self.used, max(self._rates)
        if rate * _work(Choice(n_factors=min(_N_FACTORS))) > left:
            trial.study.stop()
        if rate * _work(choice) > left and not (is_first and left > 0):
            raise optuna.TrialPruned

    def spent(self, trial: Trial) -> None:
        """Learn from a try how fast this machine is."""
        self._rates = [*self._rates[-2:], trial.seconds / _work(trial.choice)]


def _work(choice: Choice) -> float:
    """What a try costs, in no unit: some of it grows with the factors and sweeps."""
    return 32 + choice.n_factors * choice.n_iterations / 10


class _Space:
    """What Optuna may propose; the start is in it."""

    def __init__(self, rows: Rows, start: Choice, exponents: tuple[float, ...]) -> None:
        self._choices: dict[str, list[Any]] = {
            "n_factors": sorted({*_N_FACTORS, start.n_factors}),
            "n_iterations": sorted({*_N_ITERATIONS, start.n_iterations}),
            "transform": list(TRANSFORMS),
            "half_life_days": half_lives(rows, start.half_life_days),
            "exponent": sorted({*exponents, start.exponent}),
        }

    def proposed(self, trial: optuna.Trial) -> dict[str, Any]:
        """The part of a choice that Optuna proposes."""
        found = {
            name: trial.suggest_categorical(name, values)
            for name, values in self._choices.items()
            if len(values) > 1
        }
        exponent = found.get("exponent", self._choices["exponent"][0])
        share = trial.suggest_float("regularization", *_REGULARIZATIONS, log=True)
        alpha = trial.suggest_float("alpha", *_ALPHAS, log=True)
        return found | {
            "exponent": exponent,
            "regularization": share * _scale(exponent),
            "alpha": alpha,
        }

    def parameters(self, start: Choice) -> dict[str, Any]:
        """The start as Optuna has it."""
        values = msgspec.structs.asdict(start)
        named = {name: values[name] for name, found in self._choices.items() if len(found) > 1}
        share = start.regularization / _scale(start.exponent)
        return named | {
            "regularization": float(np.clip(share, *_REGULARIZATIONS)),
            "alpha": float(np.clip(start.alpha, *_ALPHAS)),
        }


def _scale(exponent: float) -> float:
    """What a regularization is in proportion to: with an exponent it is multiplied by counts."""
    return float(1_000.0 ** (1 - exponent))


def search(
    objective: Callable[[optuna.Trial], float],
    *,
    first: dict[str, Any],
    direction: Literal["minimize", "maximize"],
    seed: int,
    n: int | None,
) -> None:
    """Run a seeded search; the first try is ``first``, so that it is never worse than that."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=6, multivariate=False)
    study = optuna.create_study(direction=direction, sampler=sampler)
    study.enqueue_trial(first, skip_if_exists=True)
    study.optimize(objective, n_trials=n, callbacks=[_stop_without_progress])


def _stop_without_progress(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    if done and trial.number - study.best_trial.number >= _PATIENCE:
        study.stop()
