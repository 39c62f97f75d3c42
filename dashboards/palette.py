"""Colours: one palette that holds on light and dark grounds, and what has to change with them.

Bought is blue and solid, recommended is orange and dashed, everywhere. Both keep a contrast of
3:1 or more against every ground here, are told apart by people who see red and green alike, and
never are the only sign.
"""

from typing import Any, NamedTuple

BOUGHT = "#3a86c8"
RECOMMENDED = "#d46f10"
NEUTRAL = "#808a97"

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif'

INK = {"light": "#1b2430", "dark": "#e6e9ee"}
MUTED = {"light": "#56616f", "dark": "#a3adba"}
SURFACE = {"light": "#ffffff", "dark": "#1b2129"}
LINE = {"light": "#e3e7ec", "dark": "#2c3540"}

MANTINE_THEME: dict[str, Any] = {
    "fontFamily": FONT,
    "headings": {"fontFamily": FONT, "fontWeight": "650"},
    "primaryColor": "recgraph",
    "primaryShade": {"light": 7, "dark": 4},
    "autoContrast": True,
    "defaultRadius": "md",
    "focusRing": "auto",
    "colors": {
        "recgraph": [
            *("#eef5fc", "#dbe9f7", "#b5d2ef", "#8cb9e6", "#7db4ee"),
            *("#4b93d4", "#3a86c8", "#1d5fa8", "#164a85", "#0f3763"),
        ],
        "dark": [
            *("#e6e9ee", "#c9d0d9", "#a3adba", "#7d8896", "#36404d"),
            *("#2c3540", "#232b35", "#1b2129", "#12161c", "#0d1014"),
        ],
    },
}
"""Theme of all Mantine components."""

GRID_THEME: dict[str, Any] = {
    "backgroundColor": "var(--rg-surface)",
    "foregroundColor": "var(--rg-text)",
    "headerBackgroundColor": "var(--rg-surface)",
    "headerTextColor": "var(--rg-muted)",
    "oddRowBackgroundColor": "var(--rg-surface)",
    "rowHoverColor": "var(--rg-soft)",
    "borderColor": "var(--rg-line)",
    "accentColor": "var(--rg-accent)",
    "fontFamily": "inherit",
    "wrapperBorderRadius": 10,
}
"""Theme of the grid: the style sheet's variables, so it follows the scheme by itself."""


def plotly_template(scheme: str) -> dict[str, Any]:
    """Return the Plotly template of a colour scheme, ``light`` or ``dark``."""
    axis = {
        "gridcolor": LINE[scheme],
        "linecolor": LINE[scheme],
        "zerolinecolor": LINE[scheme],
        "tickfont": {"color": MUTED[scheme]},
        "title": {"font": {"color": MUTED[scheme], "size": 13}},
        "automargin": True,
    }
    return {
        "layout": {
            "font": {"family": FONT, "size": 13, "color": INK[scheme]},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": [BOUGHT, RECOMMENDED, NEUTRAL],
            "xaxis": axis,
            "yaxis": axis,
            "legend": {"font": {"color": INK[scheme]}},
            "hoverlabel": {
                "bgcolor": SURFACE[scheme],
                "bordercolor": MUTED[scheme],
                "font": {"family": FONT, "color": INK[scheme]},
            },
        }
    }


class NameStyle(NamedTuple):
    """How large the name of a vertex is, in pixels."""

    font_size: int
    max_width: int


NAME, CENTRE_NAME = NameStyle(10, 130), NameStyle(15, 240)
NAME_GAP = 4
"""Pixels between a vertex and its name."""


def cytoscape_stylesheet(scheme: str) -> list[dict[str, Any]]:
    """Return how the network is drawn in a colour scheme, ``light`` or ``dark``."""
    vertex = {
        "label": "data(label)",
        "color": INK[scheme],
        "font-family": FONT,
        "font-size": NAME.font_size,
        "min-zoomed-font-size": 8,
        "text-wrap": "ellipsis",
        "text-max-width": NAME.max_width,
        "text-valign": "bottom",
        "text-margin-y": NAME_GAP,
        "text-background-color": SURFACE[scheme],
        "text-background-opacity": 0.85,
        "text-background-padding": 2,
        "background-color": NEUTRAL,
        "border-width": 2,
        "border-color": SURFACE[scheme],
        "width": "data(size)",
        "height": "data(size)",
    }
    edge = {"curve-style": "straight", "width": 1.4, "opacity": 0.6}
    return [
        {"selector": "node", "style": vertex},
        {"selector": "node.user", "style": {"shape": "ellipse"}},
        {
            "selector": "node.item",
            "style": {"shape": "round-rectangle", "background-color": BOUGHT},
        },
        {"selector": "node.user", "style": {"min-zoomed-font-size": 13}},
        {"selector": "node.crowded", "style": {"min-zoomed-font-size": 18}},
        {
            "selector": "node.centre",
            "style": {
                "border-color": INK[scheme],
                "font-size": CENTRE_NAME.font_size,
                "min-zoomed-font-size": 0,
                "text-max-width": CENTRE_NAME.max_width,
                "z-index": 2,
            },
        },
        {"selector": "node:selected", "style": {"border-color": RECOMMENDED, "border-width": 4}},
        {"selector": "edge", "style": edge},
        {"selector": "edge.bought", "style": {"line-color": BOUGHT, "line-style": "solid"}},
        {
            "selector": "edge.recommended",
            "style": {
                "line-color": RECOMMENDED,
                "line-style": "dashed",
                "line-dash-pattern": [6, 4],
                "opacity": 0.9,
            },
        },
    ]
