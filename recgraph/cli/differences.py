"""What `recgraph generations diff` shows a person."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from recgraph.diff import Difference, Figure

_SHOWN_TITLES = 2


def render(difference: Difference) -> RenderableType:
    """The tables of a difference; one that would be empty is left out."""
    parts = (_figures, _users, _items, _settings)
    return Group(_headline(difference), *(p for part in parts if (p := part(difference))))


def _headline(d: Difference) -> Text:
    same = "nobody has a list in both"
    if d.lists:
        same = (
            f"{d.changed:.1%} of {d.lists:,} lists changed; Jaccard@{d.k} {d.jaccard:.3f}, "
            f"rank-biased overlap {d.rbo:.3f} (p = {d.persistence:g}, extrapolated)"
        )
    counts = (
        f"users: {d.new_users:,} new, {d.gone_users:,} gone; "
        f"items: {d.new_items:,} new, {d.gone_items:,} gone; "
        f"lists: {d.new_lists:,} new, {d.gone_lists:,} gone"
    )
    return Text.assemble((f"{d.before} -> {d.after}\n", "bold"), same, "\n", counts)


def _table(title: str, *columns: str | Column) -> Table:
    return Table(*columns, title=title, title_justify="left")


def _right(name: str) -> Column:
    return Column(name, justify="right")


def _figures(d: Difference) -> RenderableType | None:
    table = _table("figures", "", _right("before"), _right("after"), _right("change"))
    for figure in [*d.degrees, *d.metrics]:
        table.add_row(figure.name, *map(_number, (figure.before, figure.after)), _change(figure))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _change(figure: Figure) -> str:
    if figure.before is None or figure.after is None or figure.before == figure.after:
        return ""
    return f"{figure.after - figure.before:+.4f}"


def _users(d: Difference) -> RenderableType | None:
    if not d.most_changed_users:
        return None
    columns = ("user", _right("overlap"), _right("Jaccard"), "came", "gone")
    table = _table("users whose lists changed most", *columns)
    for user in d.most_changed_users:
        likeness = (f"{value:.3f}" for value in (user.rbo, user.jaccard))
        table.add_row(Text(user.user_id), *likeness, *map(_titles, (user.came, user.gone)))
    return table


def _titles(titles: list[str]) -> Text:
    """The first titles, and how many more there are; never read as markup."""
    more = len(titles) - _SHOWN_TITLES
    lines = titles[:_SHOWN_TITLES] + ([f"and {more} more"] if more > 0 else [])
    return Text("\n".join(lines))


def _items(d: Difference) -> RenderableType | None:
    if not d.most_changed_items:
        return None
    columns = ("product", "title", _right("lists before"), _right("after"))
    table = _table("products that came or went most", *columns)
    for item in d.most_changed_items:
        counts = (f"{count:,}" for count in (item.before, item.after))
        table.add_row(Text(item.item_id), Text(item.title or ""), *counts)
    return table


def _settings(d: Difference) -> RenderableType | None:
    if not d.settings:
        return None
    table = _table("settings that differ", "", "before", "after")
    for figure in d.settings:
        table.add_row(figure.name, *map(_value, (figure.before, figure.after)))
    return table


def _value(value: Any) -> Text:
    return Text("" if value is None else str(value))
