"""What stands around every page: navigation, colour scheme, signing out, and the HTML document."""

from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from dashboards.palette import MANTINE_THEME, cytoscape_stylesheet, plotly_template
from dashboards.parts import Child, aria

SCHEMES = ("light", "dark")

INDEX = """<!DOCTYPE html>
<html lang="en">
  <head>
    {%metas%}
    <meta name="color-scheme" content="light dark">
    <title>{%title%}</title>
    <link rel="icon" href="/assets/favicon.svg" type="image/svg+xml">
    <script src="/assets/scheme.js"></script>
    {%css%}
  </head>
  <body>
    {%app_entry%}
    <noscript>The dashboard needs JavaScript.</noscript>
    <footer>{%config%}{%scripts%}{%renderer%}</footer>
  </body>
</html>
"""
"""The document around the application."""


def shell(names: dict[str, str]) -> Child:
    """Return the layout around every page.

    Parameters
    ----------
    names
        Path -> name of each page, in the order of the navigation.
    """
    children: list[Any] = [
        dcc.Location(id="url", refresh="callback-nav"),
        dcc.Store(id="title"),
        dcc.Store(id="templates", data={s: plotly_template(s) for s in SCHEMES}),
        dcc.Store(id="stylesheets", data={s: cytoscape_stylesheet(s) for s in SCHEMES}),
        html.A("Skip to the content", href="#main", className="skip"),
        html.Header(
            [_brand(), html.Nav(navigation(names, ""), id="nav", **aria(label="Pages")), _tools()],
            className="top",
        ),
        html.Div(id="notice", role="status"),
        html.Main(id="main", tabIndex="-1"),
    ]
    return dmc.MantineProvider(
        html.Div(children, className="app"), theme=MANTINE_THEME, defaultColorScheme="auto"
    )


def navigation(names: dict[str, str], current: str) -> list[Child]:
    """Return the links to the pages, the current one marked."""
    return [
        dmc.Anchor(
            [html.Span(className=f"icon icon-{name.split()[0].lower()}"), html.Span(name)],
            href=path,
            underline="never",
            className="to-page",
            **(aria(current="page") if path == current else {}),
        )
        for path, name in names.items()
    ]


def _brand() -> Child:
    mark = html.Img(src="/assets/favicon.svg", alt="", width=28, height=28)
    return dmc.Anchor([mark, html.Span("recgraph")], href="/", underline="never", className="brand")


def _tools() -> Child:
    toggle = dmc.ColorSchemeToggle(
        id="scheme",
        lightIcon=html.Span(className="icon icon-moon"),
        darkIcon=html.Span(className="icon icon-sun"),
        variant="subtle",
        color="gray",
        size="lg",
        **aria(label="Switch between light and dark"),
    )
    sign_out = html.Form(
        html.Button("Sign out", type="submit", className="quiet-button"),
        method="post",
        action="/sign-out",
    )
    return html.Div([toggle, sign_out], className="tools")
