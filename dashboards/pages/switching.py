"""Which generation is current: a button beside each other one, for those who may choose."""

from collections.abc import Callable

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, ctx
from dash.exceptions import PreventUpdate
from flask import has_request_context

from dashboards.access import admitted, require
from dashboards.api.parts import has_parts, parts
from dashboards.parts import Child, aria, notice
from recgraph.errors import GenerationError, StoreError, StoreUnavailable


def may_switch() -> bool:
    """Return whether whoever looks at the page may choose the generation."""
    who = admitted() if has_request_context() and has_parts() else None
    return who is not None and who.may("operate")


def switch_button(generation: str) -> Child:
    """Return the button that makes a generation current."""
    return dmc.Button(
        "Make current",
        id={"type": "switch", "generation": generation},
        size="compact-sm",
        variant="default",
        **aria(label=f"Make {generation} current"),
    )


def register_switch(app: Dash, render: Callable[[], list[Child]]) -> None:
    """Make the buttons work; ``render`` gives the page that holds them anew."""

    @app.callback(
        Output("main", "children", allow_duplicate=True),
        Output("notice", "children", allow_duplicate=True),
        Input({"type": "switch", "generation": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )
    def switch(n_clicks: list[int | None]) -> tuple[list[Child], Child]:
        if not any(n_clicks) or not isinstance(ctx.triggered_id, dict):
            raise PreventUpdate
        require("operate")
        try:
            parts().activate(str(ctx.triggered_id["generation"]))
        except StoreUnavailable:
            raise
        except (GenerationError, StoreError) as error:
            return render(), notice("The generation stays", str(error))
        return render(), None
