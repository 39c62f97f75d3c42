"""What stands around every page: navigation, colour scheme, the account, and the HTML document."""

from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from dashboards.palette import MANTINE_THEME, cytoscape_stylesheet, plotly_template
from dashboards.parts import Child, aria
from recgraph.accounts import Principal

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


def shell(names: dict[str, str], who: Principal, csrf_token: str) -> Child:
    """Return the layout around every page.

    Parameters
    ----------
    names
        Path -> name of each page, in the order of the navigation.
    who
        Who is signed in.
    csrf_token
        Proves to the server that the form for signing out is its own.
    """
    children: list[Any] = [
        dcc.Location(id="url", refresh="callback-nav"),
        dcc.Store(id="title"),
        dcc.Store(id="templates", data={s: plotly_template(s) for s in SCHEMES}),
        dcc.Store(id="stylesheets", data={s: cytoscape_stylesheet(s) for s in SCHEMES}),
        html.A("Skip to the content", href="#main", className="skip"),
        html.Header(
            [
                _brand(),
                html.Nav(navigation(names, ""), id="nav", **aria(label="Pages")),
                html.Div([_scheme_toggle(), _account_menu(who, csrf_token)], className="tools"),
            ],
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


def _scheme_toggle() -> Child:
    return dmc.ColorSchemeToggle(
        id="scheme",
        lightIcon=html.Span(className="icon icon-moon"),
        darkIcon=html.Span(className="icon icon-sun"),
        variant="subtle",
        color="gray",
        size="lg",
        **aria(label="Switch between light and dark"),
    )


def _account_menu(who: Principal, csrf_token: str) -> Child:
    """Return the button that opens who is signed in, the way to the password, and signing out."""
    button = dmc.ActionIcon(
        html.Span(className="icon icon-account"),
        variant="subtle",
        color="gray",
        size="lg",
        **aria(label="Your account"),
    )
    sign_out = html.Form(
        [
            dcc.Input(type="hidden", name="csrf_token", value=csrf_token),
            html.Button("Sign out", type="submit", className="quiet-button"),
        ],
        method="post",
        action="/sign-out",
    )
    # Not dmc.Anchor: the account page is no part of the application, and needs no JavaScript.
    content = [
        html.P([html.Strong(who.name), html.Br(), who.role or ""], id="who"),
        html.A("Account and password", href="/account"),
        html.A("REST API", href="/api-docs"),
        sign_out,
    ]
    return dmc.Popover(
        [dmc.PopoverTarget(button), dmc.PopoverDropdown(html.Div(content, className="account"))],
        position="bottom-end",
        trapFocus=True,
        returnFocus=True,
        withArrow=True,
        shadow="md",
    )
