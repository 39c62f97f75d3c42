"""`recgraph reviews features`: products as vectors of what is said of them."""

from collections.abc import Mapping
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.text import Text

from recgraph.cli.base import AsJson, report, say
from recgraph.cli.reviews import reviews_app
from recgraph.config import load_settings
from recgraph.stages import Stages


@reviews_app.command()
def features(as_json: AsJson = False) -> None:
    """Fit the pipeline that makes a vector of each product, from its reviews and the catalogue.

    Words of the reviews (TF-IDF), brand, category and price. The next `recgraph train --on reviews`
    finds similar products by it. Run it again when many reviews came in.
    """
    from recgraph import jobs
    from recgraph.jobs import features as job
    from recgraph.jobs.source import require_reviews

    settings = load_settings()
    require_reviews(settings)
    stages = Stages(say)
    with jobs.open_spark(settings, stages) as spark:
        found = job.fit_features(spark, settings, stages)
    summary = {**msgspec.to_builtins(found), "seconds": stages.seconds}
    report(summary, as_json=as_json, render=render_features)


def render_features(summary: Mapping[str, Any]) -> RenderableType:
    """What was fitted, and where it is."""
    chain = ", ".join(name.removesuffix("Model") for name in summary["stages"])
    return Text(
        f"{summary['products']:,} products as vectors of {summary['features']:,} numbers: {chain}."
        f"\nSaved in {summary['path']}."
    )
