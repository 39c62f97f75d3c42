"""The products of the shop as they stand: a list with its reasons, or what is popular.

A shelf knows what stood there before, so that each row can say whether it is new or has moved.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dash_mantine_components as dmc
from dash import html

from dashboards.parts import Child, aria, image_hosts, picture, vertex_link
from dashboards.text import listed, name_of, source_name
from recgraph.ports import ItemProfile, Reason, Store

N_POPULAR = 5
"""Products that somebody sees of whom nothing is known."""


@dataclass(frozen=True)
class Row:
    """A product that is offered."""

    item_id: str
    title: str | None
    department: str | None
    about: str = ""
    """Where it comes from."""
    because: Sequence[Reason] = ()
    image_url: str | None = None


@dataclass(frozen=True)
class Shelf:
    """What is offered to somebody, and what was before."""

    rows: list[Row]
    is_popular: bool
    offsets: dict[str, int] = field(default_factory=dict)
    """Partition of the topic of sales -> offset after the last purchase that is included."""
    before: Mapping[str, int] | None = None
    """Item -> place, from 1; None when nothing is to be compared."""
    predicts_ratings: bool = False
    """A purchase carries no rating, and so changes no list."""

    def data(self) -> dict[str, Any]:
        """Return what the browser keeps of the shelf."""
        places = {row.item_id: place for place, row in enumerate(self.rows, start=1)}
        before = places if self.before is None else self.before
        return {
            "places": places,
            "predicts_ratings": self.predicts_ratings,
            "offsets": self.offsets,
            "new": len(places.keys() - before.keys()),
            "gone": len(before.keys() - places.keys()),
            "moved": sum(before.get(item, place) != place for item, place in places.items()),
        }

    def drawn(self, *, can_buy: bool) -> list[Child]:
        """Return the shelf."""
        text = (
            "Nothing is known of you yet: this is what most people buy."
            if self.is_popular
            else "Chosen for you, the best first."
        )
        rows = [
            _row(row, place, self._change(row.item_id, place), can_buy=can_buy)
            for place, row in enumerate(self.rows, start=1)
        ]
        return [html.P(text, className="hint"), html.Ol(rows, className="shelf")]

    def _change(self, item_id: str, place: int) -> Child:
        """Return the mark of a row that is new or has moved."""
        if self.before is None:
            return None
        before = self.before.get(item_id)
        if before is None:
            return html.Span("new", className="change new")
        if before == place:
            return None
        arrow, word = ("↑", "up") if before > place else ("↓", "down")
        label = f"{word} by {abs(before - place)}"
        return html.Span(f"{arrow} {abs(before - place)}", className="change", title=label)


def shelf_of_user(store: Store, user_id: str, before: Mapping[str, Any] | None = None) -> Shelf:
    """Return what is offered to a user.

    Parameters
    ----------
    before
        `Shelf.data` of what stands there now.
    """
    user = store.user(user_id)
    places = None if before is None else before["places"]
    is_rated = store.current().manifest.feedback == "explicit"
    if user is None or not user.recommended:
        popular = [_row_of_item(item) for item in store.popular(N_POPULAR)]
        return Shelf(popular, True, {}, places, is_rated)
    images = _images(store, [row.item_id for row in user.recommended])
    rows = [
        Row(
            *(row.item_id, row.title, row.department, source_name(row.source), row.because),
            images.get(row.item_id),
        )
        for row in user.recommended
    ]
    offsets = {} if user.freshness is None else user.freshness.offsets
    return Shelf(rows, False, offsets, places, is_rated)


def _images(store: Store, item_ids: list[str]) -> dict[str, str | None]:
    """Return where the pictures of items are; nothing where none is shown."""
    if not image_hosts():
        return {}
    return {item.item_id: item.image_url for item in store.items(item_ids).values()}


def product_rows(items: Iterable[ItemProfile], *, can_buy: bool) -> Child:
    """Return products to buy."""
    rows = [_row(_row_of_item(item), None, None, can_buy=can_buy) for item in items]
    return html.Ul(rows, className="shelf")


def _row_of_item(item: ItemProfile) -> Row:
    buyers = f"{item.bought_degree:,} buyers"
    return Row(item.item_id, item.title, item.department, buyers, image_url=item.image_url)


def _row(row: Row, number: int | None, change: Child, *, can_buy: bool) -> Child:
    name = name_of(row.title, row.item_id)
    about = " · ".join(text for text in (row.department, row.about) if text)
    reasons = listed([name_of(each.title, each.item_id) for each in row.because or ()] or [""])
    text = [
        html.Div([vertex_link("item", row.item_id, name), change], className="name"),
        html.Div(about, className="hint"),
        html.Div(f"because of {reasons}", className="hint") if reasons else None,
    ]
    button = dmc.Button(
        "Buy",
        disabled=not can_buy,
        variant="light",
        className="buy",
        **aria(label=f"Buy {name}"),
        **{"data-item": row.item_id},
    )
    head = [] if number is None else [html.Span(f"{number}", className="place")]
    shown = picture(row.image_url, name)
    return html.Li([*head, shown, html.Div(text, className="grow"), button])
