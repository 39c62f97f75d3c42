"""Top recommended products: which products stand in most lists, in all or in one department."""

import json
from collections.abc import Mapping
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import Dash, Input, Output, html

from dashboards.figures import top_figure
from dashboards.palette import GRID_THEME
from dashboards.parts import Child, aria, card, figure, notice, page, url
from dashboards.text import name_of, number
from recgraph.graph import vertex_id
from recgraph.ports import ItemProfile, Store

PATH = "/top"
NAME = "Top products"

N_BARS = 15
"""Products in the figure."""
N_ROWS = 100
"""Products in the table."""


def layout(store: Store, query: Mapping[str, str]) -> list[Child]:
    """Return the page, for the department in the query or for all."""
    manifest = store.current().manifest
    department = query.get("department") or None
    items = store.top_recommended(N_ROWS, department)
    lead = f"Products that stand in most of the {number(manifest.counts.users)} lists."
    choice = _departments(manifest.departments, department)
    if not items:
        text = f"Nothing of {department!r} is recommended." if department else "No list has a row."
        return page("Top recommended products", lead, choice, notice("Nothing to show", text))
    where = f" in {department}" if department else ""
    best = name_of(items[0].title, items[0].item_id)
    description = f"{best} leads{where}, in {number(items[0].recommended_degree)} lists."
    bars = figure("top", top_figure(items[:N_BARS]), description)
    return page(
        "Top recommended products",
        lead,
        choice,
        card(f"The first {min(N_BARS, len(items))}{where}", bars, hint=description),
        card("Table", _grid(items), hint="A product's name leads to its neighbourhood."),
    )


def register(app: Dash, store: Store) -> None:
    """Choosing a department leads to its own address."""
    del store

    @app.callback(
        Output("url", "search", allow_duplicate=True),
        Input("department", "value"),
        prevent_initial_call=True,
    )
    def choose(department: str | None) -> str:
        return url("", department=department) if department else ""


def _departments(departments: list[str], chosen: str | None) -> Child:
    return html.Div(
        dmc.Select(
            id="department",
            label="Department",
            placeholder="All departments",
            data=departments,
            value=chosen if chosen in departments else None,
            clearable=True,
            clearButtonProps=aria(label="All departments"),
            searchable=True,
            nothingFoundMessage="No department by this name",
        ),
        className="narrow",
    )


def _grid(items: list[ItemProfile]) -> Child:
    columns: list[dict[str, Any]] = [
        _column("name", "Product", 3, minWidth=210, cellRenderer="ProductLink"),
        _column("department", "Department", 2, minWidth=130),
        _number_column("recommended", "In lists", ","),
        _number_column("bought", "Buyers", ","),
        _number_column("pagerank", "PageRank", ".2f"),
    ]
    return dag.AgGrid(
        id="top-grid",
        rowData=[_row(item) for item in items],
        columnDefs=columns,
        defaultColDef={"sortable": True, "resizable": True, "suppressMovable": True},
        dashGridOptions={
            "theme": {"function": f"themeQuartz.withParams({json.dumps(GRID_THEME)})"},
            "domLayout": "normal",
            "ensureDomOrder": True,
            "enableCellTextSelection": True,
            "suppressDragLeaveHidesColumns": True,
        },
        style={"height": "480px", "width": "100%"},
    )


def _column(field: str, name: str, flex: int, **more: Any) -> dict[str, Any]:
    return {"field": field, "headerName": name, "flex": flex, **more}


def _number_column(field: str, name: str, d3_format: str) -> dict[str, Any]:
    formatter = {"function": f"d3.format('{d3_format}')(params.value)"}
    return _column(field, name, 1, minWidth=110, type="numericColumn", valueFormatter=formatter)


def _row(item: ItemProfile) -> dict[str, Any]:
    return {
        "name": name_of(item.title, item.item_id),
        "href": url("/network", vertex=vertex_id("item", item.item_id)),
        "department": item.department or "",
        "recommended": item.recommended_degree,
        "bought": item.bought_degree,
        "pagerank": item.pagerank,
    }
