"""Degree distribution: how often each product is recommended, beside how often it is bought."""

from collections.abc import Mapping

from dash import Dash

from dashboards.figures import ccdf_figure, histogram_figure
from dashboards.parts import Child, card, figure, page, stat, stats
from dashboards.text import number, share
from recgraph.generations import Degrees
from recgraph.ports import Store

PATH = "/degrees"
NAME = "Degrees"


def layout(store: Store, query: Mapping[str, str]) -> list[Child]:
    """Return the page."""
    del query
    degrees = store.current().manifest.degrees
    lead = "How often each product is recommended, beside how often it is bought."
    return page("Degree distribution", lead, _stats(degrees), _curve(degrees), _bars(degrees))


def register(app: Dash, store: Store) -> None:
    """Nothing to add: the page only shows."""
    del app, store


def _stats(degrees: Degrees) -> Child:
    n_items = sum(count for _, count in degrees.recommended)
    n_listed = sum(count for degree, count in degrees.recommended if degree > 0)
    return stats(
        stat(
            "Coverage",
            share(degrees.coverage),
            f"{number(n_listed)} of {number(n_items)} products stand in at least one list.",
        ),
        stat(
            "Share of the top 1 %",
            share(degrees.top_share),
            f"of all places go to the {number(max(1, round(n_items / 100)))} most recommended "
            "products.",
        ),
        stat(
            "Gini",
            f"{degrees.gini:.2f}",
            f"{_evenness(degrees.gini)}: 0 would give each product as many places, 1 all to one.",
        ),
    )


def _evenness(gini: float) -> str:
    if gini < 0.4:
        return "Fairly even"
    return "Uneven" if gini < 0.8 else "Very uneven"


def _curve(degrees: Degrees) -> Child:
    description = (
        f"Share of products with at least so many users, both axes logarithmic. Bought: "
        f"{_spread(degrees.bought)}. Recommended: {_spread(degrees.recommended)}."
    )
    drawn = figure("ccdf", ccdf_figure(degrees.bought, degrees.recommended), description)
    hint = "Read it as: this share of all products has at least so many users. Both axes are logs."
    return card("How far the tail reaches", drawn, hint=hint)


def _bars(degrees: Degrees) -> Child:
    description = (
        f"Number of products by number of users. {_zero(degrees.recommended)} products are "
        "recommended to nobody."
    )
    drawn = figure("histogram", histogram_figure(degrees.bought, degrees.recommended), description)
    hint = f"{_zero(degrees.recommended)} products are recommended to nobody: the bar at 0."
    return card("How many products have how many users", drawn, hint=hint)


def _spread(distribution: list[tuple[int, int]]) -> str:
    return f"up to {number(max((degree for degree, _ in distribution), default=0))} users"


def _zero(distribution: list[tuple[int, int]]) -> str:
    return number(dict(distribution).get(0, 0))
