"""Published numbers -> Plotly figures, without colours of a scheme: the browser adds those."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboards.palette import BOUGHT, NEUTRAL, RECOMMENDED
from dashboards.text import RECOMMENDERS, TASKS, model_on, name_of, plotly_text, shorten
from recgraph.exploration import OfLength, OfMonth, OfRating
from recgraph.generations import Metrics
from recgraph.ports import ItemProfile

CONFIG: Any = {"displayModeBar": False, "responsive": True}
"""Configuration of every graph: nothing but the figure."""

Distribution = Sequence[tuple[int, int]]


def ranking_figure(metrics: Metrics) -> go.Figure:
    """Return recall at k, a panel a task and a bar a recommender, the model highlighted."""
    ranking = metrics.ranking
    tasks = [task for task in TASKS if any(row.task == task for row in ranking)]
    titles = [TASKS[task] for task in tasks]
    figure = make_subplots(
        rows=max(len(tasks), 1),
        cols=1,
        subplot_titles=titles,
        vertical_spacing=0.16,
        row_heights=[sum(row.task == task for row in ranking) for task in tasks] or None,
    )
    for position, task in enumerate(tasks, start=1):
        rows = sorted((row for row in ranking if row.task == task), key=lambda row: row.recall)
        model = model_on(metrics, task)
        colours = [RECOMMENDED if row.recommender == model else NEUTRAL for row in rows]
        bars = go.Bar(
            x=np.array([100 * row.recall for row in rows]),
            y=[_wrapped(RECOMMENDERS.get(row.recommender, row.recommender)) for row in rows],
            orientation="h",
            marker={"color": colours, "cornerradius": 3},
            texttemplate="%{x:.1f} %",
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.2f} %<extra></extra>",
        )
        figure.add_trace(bars, row=position, col=1)
    figure.update_annotations(x=0, xanchor="left", font={"size": 13})
    figure.update_xaxes(rangemode="tozero", showticklabels=False, showgrid=False, zeroline=False)
    figure.update_yaxes(ticksuffix="  ", showgrid=False)
    return _calm(figure, height=70 * len(tasks) + 32 * len(ranking), margin={"t": 28, "r": 56})


def ccdf_figure(bought: Distribution, recommended: Distribution) -> go.Figure:
    """Return the share of products with at least so many users, bought beside recommended."""
    figure = go.Figure()
    for name, distribution, colour, dash in _both(bought, recommended):
        degrees, shares = ccdf(distribution)
        line = go.Scatter(
            x=degrees,
            y=shares,
            name=name,
            mode="lines",
            line={"color": colour, "dash": dash, "width": 2.5, "shape": "vh"},
            hovertemplate="%{y:.3%} of the products: %{x:,} users or more<extra>"
            + name
            + "</extra>",
        )
        figure.add_trace(line)
    figure.update_xaxes(type="log", title="users, at least", dtick=1, tickformat=",")
    figure.update_yaxes(type="log", title="share of all products", dtick=1, tickformat=".3~p")
    return _calm(figure, height=380, legend=_LEGEND_ON_TOP)


def histogram_figure(bought: Distribution, recommended: Distribution) -> go.Figure:
    """Return how many products have 0, 1, 2-3, 4-7, ... users, bought beside recommended."""
    figure = go.Figure()
    longest = max((degree for degree, _ in [*bought, *recommended]), default=0)
    for name, distribution, colour, _ in _both(bought, recommended):
        labels, counts = binned(distribution, longest)
        bars = go.Bar(
            x=labels,
            y=counts,
            name=name,
            marker={"color": colour, "cornerradius": 2},
            hovertemplate="%{y:,} products: %{x} users<extra>" + name + "</extra>",
        )
        figure.add_trace(bars)
    figure.update_traces(marker_pattern_shape="/", selector={"name": "Recommended"})
    figure.update_xaxes(title={"text": "users", "standoff": 12}, automargin=True, type="category")
    tallest = max((bar.y.max() for bar in figure.data), default=1)
    span = [-0.15, np.log10(max(tallest, 1)) + 0.15]  # from below 1, so that one product shows
    figure.update_yaxes(title="products", type="log", dtick=1, tickformat=",", range=span)
    return _calm(figure, height=380, legend=_LEGEND_ON_TOP, barmode="group", bargap=0.25)


def top_figure(items: Sequence[ItemProfile]) -> go.Figure:
    """Return in how many lists each product stands, the most recommended on top."""
    names = [plotly_text(shorten(name_of(item.title, item.item_id), 28)) for item in items]
    bars = go.Bar(
        x=np.array([item.recommended_degree for item in items], dtype=np.int64),
        y=np.arange(len(items)),
        orientation="h",
        marker={"color": RECOMMENDED, "cornerradius": 3},
        texttemplate="%{x:,}",
        textposition="outside",
        cliponaxis=False,
        customdata=names,
        hovertemplate="%{customdata}: in %{x:,} lists<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_yaxes(
        tickvals=np.arange(len(items)),
        ticktext=names,
        autorange="reversed",
        ticksuffix="  ",
        showgrid=False,
        tickfont={"size": 12},
    )
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, rangemode="tozero")
    return _calm(figure, height=60 + 26 * max(len(items), 1), margin={"r": 56}, bargap=0.3)


def figure_of_ratings(rows: Sequence[OfRating]) -> go.Figure:
    """Return how many reviews have each rating."""
    bars = go.Bar(
        x=[f"{row.rating} ★" for row in rows],
        y=np.array([row.n_reviews for row in rows]),
        marker={"color": BOUGHT, "cornerradius": 3},
        texttemplate="%{y:,}",
        textposition="outside",
        cliponaxis=False,
        customdata=[row.median_length for row in rows],
        hovertemplate="%{x}: %{y:,} reviews, half of them up to %{customdata:,.0f} characters"
        "<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_xaxes(type="category")
    figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False)
    return _calm(figure, height=260, margin={"t": 28}, bargap=0.3)


def figure_of_months(rows: Sequence[OfMonth]) -> go.Figure:
    """Return reviews of each month, and below it their mean rating."""
    months = [f"{row.month}-01" for row in rows]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    counts, means = [row.n_reviews for row in rows], [row.mean_rating for row in rows]
    figure.add_trace(
        go.Bar(
            x=months,
            y=np.array(counts),
            marker={"color": BOUGHT},
            hovertemplate="%{x|%B %Y}: %{y:,} reviews<extra></extra>",
        ),
        row=1,
        col=1,
    )
    figure.add_trace(
        go.Scatter(
            x=months,
            y=np.array(means),
            mode="lines",
            line={"color": RECOMMENDED, "width": 2},
            hovertemplate="%{x|%B %Y}: %{y:.2f}<extra></extra>",
        ),
        row=2,
        col=1,
    )
    figure.update_yaxes(title="reviews", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title="mean rating", range=[0.9, 5.1], dtick=1, row=2, col=1)
    return _calm(figure, height=400, bargap=0.1)


def figure_of_lengths(rows: Sequence[OfLength]) -> go.Figure:
    """Return the mean rating by length, and below it the share that somebody found helpful."""
    names = [f"{row.least:,}+" for row in rows]
    panels = (
        ("mean rating", [row.mean_rating for row in rows], BOUGHT, "%{y:.2f}"),
        ("found helpful", [row.helpful_share for row in rows], RECOMMENDED, "%{y:.0%}"),
    )
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.12)
    for place, (name, values, colour, form) in enumerate(panels, start=1):
        bars = go.Bar(
            x=names,
            y=np.array(values),
            marker={"color": colour, "cornerradius": 2},
            texttemplate=form,
            textposition="outside",
            cliponaxis=False,
            customdata=[row.n_reviews for row in rows],
            hovertemplate=f"%{{x}} characters: {form}, %{{customdata:,}} reviews<extra></extra>",
        )
        figure.add_trace(bars, row=place, col=1)
        figure.update_yaxes(title=name, showticklabels=False, showgrid=False, row=place, col=1)
    figure.update_xaxes(type="category")
    figure.update_xaxes(title="characters", row=2, col=1)
    return _calm(figure, height=400, margin={"t": 28}, bargap=0.3)


def ccdf(distribution: Distribution) -> tuple[np.ndarray, np.ndarray]:
    """Return degrees >= 1 ascending, and the share of all products with at least each degree."""
    if not distribution:
        return np.empty(0, dtype=np.int64), np.empty(0)
    degrees, counts = np.array(sorted(distribution), dtype=np.int64).T
    at_least = counts[::-1].cumsum()[::-1] / counts.sum()
    return degrees[degrees > 0], at_least[degrees > 0]


def binned(distribution: Distribution, longest: int) -> tuple[list[str], np.ndarray]:
    """Return bins 0, 1, 2-3, 4-7, ... up to ``longest``, and how many products fall into each."""
    n_bins = 1 + int(longest).bit_length()
    counts = np.zeros(n_bins, dtype=np.int64)
    for degree, n_items in distribution:
        counts[int(degree).bit_length()] += n_items
    ranges = [(2 ** (b - 1), 2**b - 1) for b in range(1, n_bins)]
    labels = [f"{low:,}–{high:,}" if high > low else f"{low:,}" for low, high in ranges]  # noqa: RUF001
    return ["0", *labels], counts


def _wrapped(name: str) -> str:
    """A long name in lines that leave the bars room on a narrow screen."""
    return "<br>".join(textwrap.wrap(name, 20))


def _both(
    bought: Distribution, recommended: Distribution
) -> list[tuple[str, Distribution, str, str]]:
    return [
        ("Bought", bought, BOUGHT, "solid"),
        ("Recommended", recommended, RECOMMENDED, "dash"),
    ]


_LEGEND_ON_TOP = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}


def _calm(
    figure: go.Figure, *, height: int, margin: dict[str, int] | None = None, **layout: Any
) -> go.Figure:
    around = {"l": 8, "r": 8, "t": 8, "b": 8} | (margin or {})
    showlegend = "legend" in layout
    figure.update_layout(
        template="none",
        height=height,
        margin=around,
        showlegend=showlegend,
        dragmode=False,
        **layout,
    )
    return figure
