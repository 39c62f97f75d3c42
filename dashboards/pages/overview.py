"""Overview: what is current and how fresh, how ingest gets on, how good the model is."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dash import Dash, Input, Output, State, dcc, html

from dashboards.figures import ranking_figure
from dashboards.pages.switching import may_switch, register_switch, switch_button
from dashboards.parts import Child, aria, card, figure, page, stat, stats, table, when
from dashboards.text import (
    RECOMMENDERS,
    TASK_QUESTIONS,
    TASKS,
    ago,
    error_verdict,
    moment,
    number,
    share,
    verdicts,
)
from recgraph.errors import NotPublished, StoreError
from recgraph.generations import Counts, Manifest, Metrics
from recgraph.ports import Progress, Published, Store

PATH = "/"
NAME = "Overview"

REFRESH_MS = 2_000
"""How often the numbers of ingest are read again."""


def layout(store: Store, query: Mapping[str, str]) -> list[Child]:
    """Return the page."""
    del query
    published = store.current()
    manifest = published.manifest
    lead = ["Generation ", html.Code(manifest.id), ", trained ", when(manifest.created_at), "."]
    return page(
        "Overview",
        lead,
        _counts(manifest.counts),
        _ingest(store),
        _quality(manifest.metrics, manifest.feedback),
        _made(store, manifest),
    )


def register(app: Dash, store: Store) -> None:
    """Keep the numbers of ingest moving, and let operators choose the generation."""
    register_switch(app, lambda: layout(store, {}))

    @app.callback(
        Output("ingest", "children"),
        Output("ingest-before", "data"),
        Input("ingest-tick", "n_intervals"),
        State("ingest-before", "data"),
        prevent_initial_call=True,
    )
    def move(_: int, before: list[float] | None) -> tuple[Child, list[float] | None]:
        try:
            progress, trained = store.progress(), _rows_seen(store.current().manifest.counts)
        except NotPublished:
            progress, trained = store.progress(), 0
        except StoreError:
            return html.P("MongoDB does not answer; trying again.", className="hint"), before
        return _progress(progress, trained, before), _sample(progress)


def _how_sold(counts: Counts) -> str:
    if counts.cold_items:
        return f"{number(counts.cold_items)} of them, of the catalogue, not sold yet"
    return "with at least one interaction"


def _counts(counts: Counts) -> Child:
    return stats(
        stat("Sales events", number(counts.events), "each counted once"),
        stat("Users", number(counts.users), "with at least one interaction"),
        stat("Products", number(counts.items), _how_sold(counts)),
        stat(
            "Bought edges",
            number(counts.edges - counts.recommendations),
            f"density {share(counts.density, 2)}",
        ),
        stat("Recommended edges", number(counts.recommendations), "rows of all lists together"),
        stat("Repeated events", number(counts.duplicates), _conflicts(counts)),
    )


def _rows_seen(counts: Counts) -> int:
    """Rows of the event table that a generation saw: copies are rows, too."""
    return counts.events + counts.duplicates


def _conflicts(counts: Counts) -> str:
    return f"left out, {number(counts.conflicts)} of them differ from the first"


def _ingest(store: Store) -> Child:
    progress = store.progress()
    return card(
        "Ingest",
        dcc.Interval(id="ingest-tick", interval=REFRESH_MS),
        dcc.Store(id="ingest-before", data=_sample(progress)),
        html.Div(
            _progress(progress, _rows_seen(store.current().manifest.counts), None),
            id="ingest",
            **aria(live="off"),
        ),
        hint="Events that arrived, over the whole life of the event table.",
    )


def _sample(progress: Progress | None) -> list[float] | None:
    return [progress.accepted, progress.updated_at.timestamp()] if progress else None


def _progress(progress: Progress | None, trained: int, before: list[float] | None) -> Child:
    if progress is None:
        return html.P("No batch has arrived yet. Start one: recgraph ingest.", className="hint")
    last = progress.last_occurred_at
    return stats(
        stat("Accepted", number(progress.accepted), _rate(progress, before)),
        stat("Rejected", number(progress.rejected), _rejected_share(progress)),
        stat(
            "Waiting for training",
            number(max(progress.accepted - trained, 0)),
            "events this generation has not seen",
        ),
        stat("Last sale", ago(last) if last else "none", moment(last) if last else None),
        stat("Last batch", ago(progress.updated_at), moment(progress.updated_at)),
    )


def _rate(progress: Progress, before: list[float] | None) -> str:
    """Return the rate since the last look, or that nothing arrived."""
    if before is not None and progress.accepted > before[0]:
        seconds = progress.updated_at.timestamp() - before[1]
        if seconds > 0:
            return f"{number((progress.accepted - before[0]) / seconds)} events a second"
    is_quiet = (datetime.now(UTC) - progress.updated_at).total_seconds() > 30
    return "quiet at the moment" if is_quiet else "up to date"


def _rejected_share(progress: Progress) -> str:
    everything = progress.accepted + progress.rejected
    return (
        f"{share(progress.rejected / everything)} of all messages" if everything else "no message"
    )


def _quality(metrics: Metrics, feedback: str) -> Child:
    if not metrics.ranking:
        return card("Quality", html.P(metrics.note or "Nothing was measured."))
    k = metrics.ranking[0].k
    sentences = [*verdicts(metrics), *filter(None, [error_verdict(metrics.errors, feedback)])]
    held_out = f"the last {metrics.test_days:.3g} days, held back from training"
    if metrics.cut_at is not None:
        held_out += f" (from {moment(metrics.cut_at)})"
    drawn = figure("ranking", ranking_figure(metrics), " ".join(sentences))
    return card(
        "Quality",
        html.Ul([html.Li(sentence) for sentence in sentences], className="verdicts"),
        html.H3(f"Recall@{k}: share of the held-out purchases that stand in the list"),
        drawn,
        _ranking_table(metrics),
        _error_table(metrics),
        hint=f"Measured on {held_out}.",
    )


def _ranking_table(metrics: Metrics) -> Child:
    k = metrics.ranking[0].k
    rows = [
        [
            TASKS.get(row.task, row.task),
            RECOMMENDERS.get(row.recommender, row.recommender),
            f"{row.ndcg:.4f}",
            f"{row.recall:.4f}",
            share(row.coverage),
            number(row.n_users),
        ]
        for row in metrics.ranking
    ]
    heads = ["Task", "Recommender", f"nDCG@{k}", f"Recall@{k}", "Coverage", "Users"]
    questions = [f"{TASKS[task]}: {question}" for task, question in TASK_QUESTIONS.items()]
    note = html.P(" ".join(q[0].upper() + q[1:] for q in questions), className="hint")
    return html.Div([table("Ranking metrics against the baselines", heads, rows, n_texts=2), note])


def _error_table(metrics: Metrics) -> Child:
    rows: list[list[Any]] = [
        [
            {"als": "ALS", "biases": "Mean and biases", "constant": "Best constant"}.get(
                row.predictor, row.predictor
            ),
            f"{row.rmse:.4f}",
            f"{row.mae:.4f}",
            number(row.n_pairs),
        ]
        for row in metrics.errors
    ]
    heads = ["Predictor", "RMSE", "MAE", "Pairs"]
    return table("Errors of the predicted ratings", heads, rows) if rows else None


def _state(published: Published, *, is_chooser: bool) -> Child:
    if published.is_current:
        return "current"
    return switch_button(published.manifest.id) if is_chooser else "kept"


def _made(store: Store, manifest: Manifest) -> Child:
    is_chooser = may_switch()
    rows = [
        [
            html.Code(published.manifest.id),
            _state(published, is_chooser=is_chooser),
            number(published.manifest.counts.events),
            number(published.manifest.counts.edges),
            ago(published.published_at),
        ]
        for published in store.generations()
    ]
    seconds = ", ".join(f"{stage} {number(s, 1)} s" for stage, s in manifest.seconds.items())
    return card(
        "Generations",
        table(
            "Generations in the store",
            ["Generation", "State", "Events", "Edges", "Published"],
            rows,
            n_texts=2,
        ),
        hint=f"One training makes one. This one took {seconds}." if seconds else None,
    )
