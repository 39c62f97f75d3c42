"""What the comparison of a sample with the whole found -> one HTML page that loads nothing."""

import html

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from dashboards.palette import BOUGHT, RECOMMENDED, plotly_template
from recgraph.proof import Check, Distribution, Report, Stratum

_TITLES = {
    "rating": ("Ratings", "stars"),
    "review_length": ("Length of the reviews", "characters, at least"),
    "year": ("Years", "year"),
    "reviews_per_user": (
        "How many reviews the author of a review has written, in the whole",
        "reviews, at least",
    ),
    "reviews_per_product": ("Reviews per product", "reviews, at least"),
    "product_rating": ("Mean rating of the products", "stars"),
}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b2430; max-width: 860px; margin: 2rem auto;
       padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; display: block; overflow-x: auto }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #e3e7ec; text-align: right }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left }
.verdict { font-size: 1.2rem; font-weight: 600 }
.hint { color: #56616f }
"""


def sample_page(report: Report, title: str) -> str:
    """The page: the verdict, the checks, a picture of each variable, the strata."""
    pictures = "".join(_picture(each) for each in report.distributions)
    name = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style><script>{get_plotlyjs()}</script>"
        f"<h1>{name}</h1><p class=verdict>{html.escape(report.sentence)}</p>{_lead(report)}"
        f"<h2>Checks</h2>{_checks(report.checks)}{pictures}<h2>Strata</h2>{_strata(report.strata)}"
        "</html>"
    )


def _lead(report: Report) -> str:
    return (
        f"<p class=hint>{report.n_sample_reviews:,} reviews of {report.n_reviews:,}, compared with "
        f"{report.n_replicates:,} other samples of the same design. p = {report.p_value:.3f}: so "
        f"large a share of them is off as far, in whatever way; below {report.level:g} a sample "
        "fails. The lines on the pictures are where 95 % of those samples are.</p>"
    )


def _checks(checks: list[Check]) -> str:
    rows = [
        [
            each.variable.replace("_", " "),
            each.statistic,
            f"{each.value:.4g}",
            f"{each.bound:.4g}",
            "" if each.p_value is None else f"{each.p_value:.3f}",
            "passed" if each.passed else "failed",
        ]
        for each in checks
    ]
    return _table(["variable", "statistic", "found", "bound", "p", ""], rows)


def _strata(strata: list[Stratum]) -> str:
    rows = [
        [each.name, f"{each.n_products:,}", f"{each.n_chosen:,}", f"{each.weight:.1f}"]
        for each in strata
    ]
    return _table(["reviews", "products", "in the sample", "each stands for"], rows)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{html.escape(each)}" for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) for row in rows)
    return f"<table><thead><tr>{head}<tbody>{body}</table>"


def _picture(found: Distribution) -> str:
    title, unit = _TITLES[found.variable]
    figure = distribution_figure(found, unit)
    config = {"displayModeBar": False, "responsive": True}
    drawn = figure.to_html(full_html=False, include_plotlyjs=False, config=config)
    return f"<h2>{html.escape(title)}</h2>{drawn}"


def distribution_figure(found: Distribution, unit: str) -> go.Figure:
    """The shares of the whole and of the sample, with where 95 % of true samples are."""
    middle = [(low + high) / 2 for low, high in zip(found.low, found.high, strict=True)]
    half = [high - at for high, at in zip(found.high, middle, strict=True)]
    whole = go.Bar(x=found.labels, y=found.whole, name="whole", marker_color=BOUGHT)
    sample = go.Bar(x=found.labels, y=found.sample, name="sample", marker_color=RECOMMENDED)
    span = go.Scatter(
        x=found.labels,
        y=middle,
        error_y={"type": "data", "array": half, "width": 0, "thickness": 2},
        mode="markers",
        marker={"size": 1},
        name="95 % of true samples",
    )
    figure = go.Figure([whole, sample, span])
    figure.update_layout(template=plotly_template("light"), height=320, margin={"t": 16})
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}, bargap=0.2)
    figure.update_xaxes(title=unit, type="category")
    figure.update_yaxes(title="share", tickformat=".0%")
    return figure
