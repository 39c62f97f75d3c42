"""Numbers, times and findings as a person reads them."""

import html
import math
from collections.abc import Sequence
from datetime import UTC, datetime

from recgraph.generations import ErrorMetrics, Metrics

TASKS = {"next_basket": "Next basket", "new_items": "New products"}
"""The tasks, as the pages call them."""
TASK_QUESTIONS = {
    "next_basket": "what will they buy next, repeats included?",
    "new_items": "what will they buy for the first time?",
}
"""What each task asks."""
RECOMMENDERS = {
    "als+walk": "ALS + graph walk",
    "als+walk+repeat": "ALS + graph walk + repeats",
    "als+repeat": "ALS + repeats",
    "als+walk+content": "ALS + graph walk + content",
    "als+walk+repeat+content": "ALS + graph walk + repeats + content",
    "content": "Like what they bought",
    "als": "ALS",
    "walk": "Graph walk",
    "popular": "Most popular",
    "recent": "Popular lately",
    "repeats": "Bought before",
}
"""The recommenders, as the pages call them."""
BASELINES = {
    "popular": "the popular list",
    "recent": "the list of what is popular lately",
    "repeats": "repeating what they bought most",
}
"""The baselines, as a sentence calls them."""
SOURCES = {
    "als": "ALS",
    "walk": "graph walk",
    "repeat": "bought before",
    "content": "like what they bought",
    "popular_in_segment": "popular in their department",
    "popular": "popular list",
}
"""Parts of the model, as the pages call them."""


def source_name(source: str) -> str:
    """Return the parts that made a row, such as ``ALS + graph walk``."""
    return " + ".join(SOURCES.get(part, part) for part in source.split("+"))


def number(value: float, digits: int = 0) -> str:
    """Return a number with thousands separators."""
    return f"{value:,.{digits}f}"


def share(value: float, digits: int = 1) -> str:
    """Return a share between 0 and 1 as a percentage; a tiny one keeps two figures."""
    percent = 100 * value
    if 0 < percent < 0.1:
        return f"{percent:.2g} %"
    return f"{percent:,.{digits}f} %"


def moment(at: datetime) -> str:
    """Return a time in UTC, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def ago(at: datetime, now: datetime | None = None) -> str:
    """Return how long ago a time was, in its largest unit."""
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    if seconds < 10:
        return "just now" if seconds > -10 else "in the future"
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count = int(seconds // length)
        if count:
            return f"{number(count)} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def span(seconds: float) -> str:
    """Return how long a wait is, rounded up: in seconds, or from two minutes on in minutes."""
    unit, length = ("minute", 60) if seconds > 90 else ("second", 1)
    count = max(1, math.ceil(seconds / length))
    return f"{number(count)} {unit}{'s' if count > 1 else ''}"


def name_of(title: str | None, item_id: str) -> str:
    """Return a product's title, or its id when the catalogue does not know it."""
    return title or f"Product {item_id}"


def shorten(text: str, length: int) -> str:
    """Return the text, cut with an ellipsis when it is longer."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def plotly_text(text: str) -> str:
    """Return text that Plotly shows as it is: it would read some HTML tags as markup."""
    return html.escape(text, quote=False)


def verdicts(metrics: Metrics) -> list[str]:
    """Return a sentence a task that says how the model does beside each baseline."""
    return [sentence for task in TASKS if (sentence := _verdict(metrics, task))]


def model_on(metrics: Metrics, task: str) -> str | None:
    """Return the recommender that stands for the lists on a task, if it was measured.

    Lists that may hold repeats are not measured on new products: there, what is left of them is.
    """
    measured = {row.recommender for row in metrics.ranking if row.task == task}
    names = (metrics.model, metrics.model.replace("+repeat", ""))
    return next((name for name in names if name in measured), None)


def _verdict(metrics: Metrics, task: str) -> str | None:
    rows = {row.recommender: row for row in metrics.ranking if row.task == task}
    model = model_on(metrics, task)
    if model is None:
        return None
    found = [
        _compared(rows[model].recall, rows[name].recall, phrase)
        for name, phrase in BASELINES.items()
        if name in rows
    ]
    what = "of the next purchases" if task == "next_basket" else "of the first-time purchases"
    return f"{RECOMMENDERS.get(model, model)} finds {share(rows[model].recall)} {what}" + (
        f": {listed(found)}." if found else "."
    )


def listed(parts: Sequence[str]) -> str:
    """Return the parts as a sentence lists them: ``a``, ``a and b``, ``a, b and c``."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _compared(ours: float, theirs: float, phrase: str) -> str:
    if theirs == 0:
        return f"{phrase} finds none" if ours else f"as few as {phrase}"
    ratio = ours / theirs
    if 0.995 <= ratio < 1.005:
        return f"as many as {phrase}"
    digits = 2 if 0.95 <= ratio < 1.05 else 1
    return f"{ratio:.{digits}f} times as many as {phrase}"


def error_verdict(errors: list[ErrorMetrics], feedback: str) -> str | None:
    """Return a sentence on RMSE beside the constant, or None when it was not measured.

    Of implicit feedback it says that this decides nothing: a purchase is no rating to predict.
    """
    rows = {row.predictor: row for row in errors}
    if "als" not in rows or "constant" not in rows:
        return None
    ours, theirs = rows["als"].rmse, rows["constant"].rmse
    outcome = "less" if ours < theirs else "no less"
    pairs = f"{number(rows['als'].n_pairs)} held-out pairs"
    beside = f"{outcome} than the {theirs:.3f} of the best constant"
    if feedback == "explicit":
        return f"RMSE {ours:.3f} on {pairs}, {beside}."
    return (
        f"RMSE {ours:.3f} on {pairs}, half of them bought, {beside}. It decides nothing: "
        "this model ranks purchases and predicts no ratings."
    )
