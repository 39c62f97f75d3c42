"""`recgraph reviews pipeline`: ids, ALS and prediction as one saved Spark ML pipeline."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import RenderableType
from rich.text import Text

from recgraph.cli.base import AsJson, report, say
from recgraph.cli.reviews import reviews_app
from recgraph.config import load_settings
from recgraph.stages import Stages


@reviews_app.command()
def pipeline(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where it is saved.")],
    as_json: AsJson = False,
) -> None:
    """Fit a model of ratings that Spark alone can load and ask, and save it.

    One Spark ML pipeline from user_id and item_id to a prediction: indexing, ALS, prediction. It is
    for other programs; `recgraph train --on reviews` predicts better, and makes lists.

      recgraph reviews pipeline ratings-model
    """
    from recgraph import jobs
    from recgraph.jobs import pipeline as job
    from recgraph.jobs.source import require_reviews

    settings = load_settings(train_on="reviews", feedback="explicit")
    require_reviews(settings)
    job.check_folder(folder)
    stages = Stages(say)
    with jobs.open_spark(settings, stages) as spark:
        saved = job.save_pipeline(spark, settings, folder, stages)
    summary = {**msgspec.to_builtins(saved), "seconds": stages.seconds}
    report(summary, as_json=as_json, render=render_pipeline)


def render_pipeline(summary: Mapping[str, Any]) -> RenderableType:
    """What was fitted, and how it is asked."""
    chain = ", ".join(summary["stages"])
    return Text(
        f"{summary['ratings']:,} ratings of {summary['users']:,} users and "
        f"{summary['items']:,} products: {chain}.\n"
        f"PipelineModel.load({summary['path']!r}).transform(pairs) predicts user_id, item_id."
    )
