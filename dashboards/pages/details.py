"""What is known of one vertex, for the panel beside the network."""

from dash import html

from dashboards.parts import Child, link, picture, url, vertex_link
from dashboards.text import name_of, number
from recgraph.graph import Profile, vertex_id
from recgraph.ports import ItemProfile, UserProfile

N_LISTED = 10
"""Rows of each list in the panel."""


def details(profile: Profile) -> list[Child]:
    """Return the panel's content."""
    return _user(profile) if isinstance(profile, UserProfile) else _item(profile)


def _user(user: UserProfile) -> list[Child]:
    recommended = [
        [
            html.Span(f"{row.rank}.", className="place"),
            vertex_link("item", row.item_id, name_of(row.title, row.item_id)),
            html.Span(f"score {row.score:.3f}", className="amount"),
        ]
        for row in user.recommended[:N_LISTED]
    ]
    bought = [
        [
            vertex_link("item", row.item_id, name_of(row.title, row.item_id)),
            html.Span(f"{number(row.n_events)} times", className="amount"),
        ]
        for row in user.bought[:N_LISTED]
    ]
    return [
        html.P("User", className="kind user"),
        html.H2(user.user_id),
        html.P(link("Open the user's page", url("/user", id=user.user_id))),
        _facts(user, "Products bought", "Recommended"),
        *_listed("Recommended", recommended, user.recommended_degree),
        *_listed("Bought", bought, user.bought_degree),
    ]


def _item(item: ItemProfile) -> list[Child]:
    recommended = [
        [
            html.Span(f"rank {row.rank} for", className="place"),
            vertex_link("user", row.user_id, row.user_id),
            html.Span(f"score {row.score:.3f}", className="amount"),
        ]
        for row in item.recommended_to[:N_LISTED]
    ]
    buyers = [
        [
            vertex_link("user", row.user_id, row.user_id),
            html.Span(f"rating {row.rating:g}", className="amount"),
        ]
        for row in item.buyers[:N_LISTED]
    ]
    similar: list[list[Child]] = [
        [vertex_link("item", row.item_id, name_of(row.title, row.item_id))] for row in item.similar
    ]
    about = [text for text in (item.department, item.brand, item.category) if text]
    start = url("/network", vertex=vertex_id("item", item.item_id))
    return [
        html.P("Product", className="kind item"),
        html.H2(name_of(item.title, item.item_id)),
        picture(item.image_url, name_of(item.title, item.item_id)),
        html.P(" · ".join([item.item_id, *about]), className="hint"),
        html.P(link("Start from here", start)),
        _facts(item, "Buyers", "In lists"),
        *_listed("In the lists of", recommended, item.recommended_degree),
        *_listed("Bought by", buyers, item.bought_degree),
        *_listed("Often bought by the same people", similar, len(similar)),
    ]


def _facts(profile: Profile, bought: str, recommended: str) -> Child:
    facts = {
        bought: number(profile.bought_degree),
        recommended: number(profile.recommended_degree),
        "PageRank": number(profile.pagerank, 2),
    }
    pairs = [html.Div([html.Dt(name), html.Dd(value)]) for name, value in facts.items()]
    return html.Dl(pairs, className="facts")


def _listed(title: str, rows: list[list[Child]], degree: int) -> list[Child]:
    if not rows:
        return []
    more = f"{number(len(rows))} of {number(degree)}" if degree > len(rows) else ""
    head = html.H3([title, html.Span(more, className="amount")])
    return [head, html.Ul([html.Li(row) for row in rows], className="rows")]
