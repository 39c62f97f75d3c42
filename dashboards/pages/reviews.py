"""Reviews: what people wrote about the products, all together."""

from collections.abc import Mapping, Sequence

from dash import Dash, html

from dashboards.figures import figure_of_lengths, figure_of_months, figure_of_ratings
from dashboards.parts import (
    Child,
    card,
    figure,
    notice,
    page,
    stat,
    stats,
    table,
    vertex_link,
    when,
)
from dashboards.text import name_of, number, shorten
from dashboards.text import share as percent
from recgraph.exploration import SENTIMENTS, Exploration, OfProduct
from recgraph.ports import Store

PATH = "/reviews"
NAME = "Reviews"

_TITLE_LETTERS = 60


def layout(store: Store, query: Mapping[str, str]) -> list[Child]:
    """Return the page."""
    del query
    found = store.exploration()
    if found is None:
        text = "Take in files of reviews, and have them looked at; then reload."
        commands = "recgraph reviews load FILE", "recgraph reviews explore"
        return page("Reviews", "What people wrote.", notice("No reviews yet", text, *commands))
    lead = ["What people wrote, looked at ", when(found.made_at), "."]
    return page(
        "Reviews",
        lead,
        _stats(found),
        _ratings(found),
        _agreement(found),
        _months(found),
        _lengths(found),
        _products("Most reviewed", found.most_reviewed),
        _products("Least reviewed", found.least_reviewed),
    )


def register(app: Dash, store: Store) -> None:
    """Nothing to add: the page only shows."""
    del app, store


def _stats(found: Exploration) -> Child:
    years = f"from {found.first_at:%Y-%m-%d} to {found.last_at:%Y-%m-%d}"
    n_verified = sum(row.n_reviews for row in found.verified if row.state == "verified")
    means = [f"{row.state} {row.mean_rating:.2f}" for row in found.verified]
    return stats(
        stat("Reviews", number(found.n_reviews), years),
        stat("Products", number(found.n_items), "with at least one review"),
        stat("Users", f"≈ {number(found.n_users)}", "who wrote at least one"),
        stat("Mean rating", f"{found.mean_rating:.2f}", "of 5 stars"),
        stat(
            "Verified",
            percent(n_verified / found.n_reviews),
            f"of the purchases are known to the shop. Mean rating: {', '.join(means)}.",
        ),
    )


def _ratings(found: Exploration) -> Child:
    parts = [f"{row.rating}: {percent(row.n_reviews / found.n_reviews)}" for row in found.ratings]
    drawn = figure("ratings", figure_of_ratings(found.ratings), f"Stars: {', '.join(parts)}.")
    return card("Ratings", drawn)


def _agreement(found: Exploration) -> Child:
    if found.agreed is None:
        return card("Sentiment", html.P("No text was scored."))
    kappa = "" if found.kappa is None else f", kappa {found.kappa:.2f}"
    sentence = (
        f"Rating and text say the same of {percent(found.agreed)} of {number(found.n_scored)} "
        f"reviews{kappa}: 1 would be all, 0 as many as by chance."
    )
    rows = [
        [name, *(_count_of(row, place) for place in range(3))]
        for name, row in zip(SENTIMENTS, found.agreement, strict=True)
    ]
    heads = ["By rating", *(f"Text {name}" for name in SENTIMENTS)]
    hint = (
        "By rating: 4 and 5 stars are positive, 1 and 2 negative. By text: a lexicon of English "
        "words (VADER), which knows no irony."
    )
    drawn = table("Sentiment by rating and by text", heads, rows)
    return card("Sentiment", html.P(sentence), drawn, hint=hint)


def _count_of(row: Sequence[int], place: int) -> str:
    return f"{number(row[place])} ({percent(row[place] / sum(row), 0)})" if sum(row) else "0"


def _months(found: Exploration) -> Child:
    most = max(found.months, key=lambda row: row.n_reviews)
    description = (
        f"Reviews of each month and their mean rating, {found.months[0].month} to "
        f"{found.months[-1].month}; most, {number(most.n_reviews)}, in {most.month}."
    )
    drawn = figure("months", figure_of_months(found.months), description)
    return card("Over time", drawn, hint=description)


def _lengths(found: Exploration) -> Child:
    sentences = [
        f"{what} {'more' if value > 0 else 'less'} ({value:+.2f})"
        for what, value in (
            ("Longer reviews rate", found.length_rating),
            ("longer reviews are found helpful", found.length_votes),
        )
        if value is not None
    ]
    hint = f"{'; '.join(sentences)}: correlations of logarithms." if sentences else None
    description = "Mean rating, and share with a vote for being helpful, by length of the review."
    drawn = figure("lengths", figure_of_lengths(found.lengths), description)
    return card("Length", drawn, hint=hint)


def _products(title: str, products: Sequence[OfProduct]) -> Child:
    rows = [
        [
            vertex_link(
                "item", each.item_id, shorten(name_of(each.title, each.item_id), _TITLE_LETTERS)
            ),
            number(each.n_reviews),
            f"{each.mean_rating:.2f}",
            _count_of(each.by_rating, 2),
            _count_of(each.by_text, 2),
            "unknown" if each.turnover is None else number(each.turnover),
        ]
        for each in products
    ]
    heads = ["Product", "Reviews", "Rating", "Positive", "By text", "Est. turnover"]
    hint = (
        "The turnover is an estimate: the price of the catalogue times the reviews. Not every "
        "buyer writes one, and prices change."
    )
    return card(title, table(f"{title} products", heads, rows), hint=hint)
