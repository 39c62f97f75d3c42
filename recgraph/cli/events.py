"""`recgraph replay` and `recgraph ingest`: sale events onto the topic, and off it again."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from recgraph.cli.base import AsJson, app, err, report
from recgraph.config import Settings, load_settings
from recgraph.errors import InputError, ServiceError, StoreError
from recgraph.stages import Stages

if TYPE_CHECKING:
    from recgraph.ports import Progress as IngestProgress
    from recgraph.services.kafka import Delivery
    from recgraph.sources import Message
    from recgraph.spark.events import BatchCounts

log = structlog.get_logger()

Day = datetime
_DAY_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


@app.command(rich_help_panel="Events")
def replay(
    source: Annotated[
        str,
        typer.Argument(help="complete-journey, or a CSV, JSON Lines or Parquet file of sales."),
    ],
    user_column: Annotated[str, typer.Option(help="Column of the user's id.")] = "user_id",
    item_column: Annotated[str, typer.Option(help="Column of the product's id.")] = "product_id",
    quantity_column: Annotated[
        str, typer.Option(help="Column of the quantity; '' where each row counts one.")
    ] = "quantity",
    time_column: Annotated[str, typer.Option(help="Column of the time.")] = "occurred_at",
    event_id_column: Annotated[
        str | None, typer.Option(help="Column that identifies the sale; else its content does.")
    ] = None,
    rating_column: Annotated[
        str | None, typer.Option(help="Column of a rating, for explicit feedback.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Events a second.")] = None,
    start: Annotated[
        Day | None, typer.Option("--from", formats=_DAY_FORMATS, help="First moment, in UTC.")
    ] = None,
    end: Annotated[
        Day | None, typer.Option("--to", formats=_DAY_FORMATS, help="End, exclusive, in UTC.")
    ] = None,
    skip: Annotated[int, typer.Option(min=0, help="Leave out so many at the start.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Send so many at most.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send recorded sales to the topic, as if they happened now.

    Replaying a file twice changes nothing: each row keeps its event id. A row that is no valid
    sale is sent all the same, and `recgraph ingest` keeps it with the reason.

      recgraph replay complete-journey --limit 200000

      recgraph replay sales.csv --user-column customer --item-column sku --time-column date
    """
    from recgraph import sources

    columns = sources.ColumnNames(
        user=user_column,
        item=item_column,
        quantity=quantity_column or None,
        time=time_column,
        event_id=event_id_column,
        rating=rating_column,
    )
    messages = sources.between(sources.read_messages(source, columns), _utc(start), _utc(end))
    chosen = islice(messages, skip, None if limit is None else skip + limit)
    delivery = send(load_settings(), chosen, rate=rate, total=limit)
    summary = delivery_summary(delivery)
    report(summary, as_json=as_json, render=_render_delivery)
    if delivery.failed:
        message = (
            f"{delivery.failed:,} of {delivery.sent:,} events were not taken by the broker: "
            f"{delivery.first_error}. Mend the cause and replay again: no event will count twice."
        )
        raise ServiceError(message)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def send(
    settings: Settings,
    messages: "Iterable[Message]",
    *,
    rate: float | None = None,
    total: int | None = None,
) -> "Delivery":
    """What became of the messages, sent to the topic (which is made if need be) with a bar."""
    from recgraph import sources
    from recgraph.services import kafka
    from recgraph.services.embedded import ensure_kafka

    # The first row is read before anything is started: a wrong file needs no broker to be wrong.
    first = next(iterator := iter(messages), None)
    if first is None:
        message = "the source has no rows in the range asked for; nothing was sent."
        raise InputError(message)
    bootstrap = ensure_kafka(settings, err.print)
    kafka.ensure_topic(bootstrap, settings.topic, n_partitions=settings.topic_partitions)
    with _bar() as progress:
        task = progress.add_task(f"sending to {settings.topic}", total=total)

        def show(delivery: "Delivery") -> None:
            if delivery.sent % 500 == 0 or rate:
                progress.update(task, completed=delivery.sent)

        encoded = map(sources.encode, _chain(first, iterator))
        return kafka.produce(bootstrap, settings.topic, encoded, rate=rate, on_sent=show)


def _chain(first: "Message", rest: "Iterator[Message]") -> "Iterator[Message]":
    yield first
    yield from rest


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=err,
        transient=True,
    )


def delivery_summary(delivery: "Delivery") -> dict[str, Any]:
    """What `recgraph replay --json` says."""
    return {
        "sent": delivery.sent,
        "acknowledged": delivery.acknowledged,
        "failed": delivery.failed,
        "rate": round(delivery.rate, 1),
        "seconds": {"replay": round(delivery.seconds, 2)},
    }


def _render_delivery(summary: Mapping[str, Any]) -> RenderableType:
    table = Table("sent", "acknowledged", "failed", "events/s")
    counts = (summary[name] for name in ("sent", "acknowledged", "failed", "rate"))
    table.add_row(*(f"{count:,}" for count in counts))
    return table


@app.command(rich_help_panel="Events")
def ingest(
    once: Annotated[
        bool, typer.Option("--once", help="Take in what is there now, and end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take the topic's messages into the event table, each exactly once.

    Messages that are no sale are kept beside it with the reason. Without --once it goes on until
    Ctrl-C. It may be killed at any moment: the next start goes on where it was.
    """
    from recgraph import pipeline

    settings = load_settings()
    stages = Stages(err.print)
    with pipeline.open_spark(settings, stages) as spark:
        summary = run_ingest(spark, settings, stages, once=once)
    report(summary, as_json=as_json, render=_render_ingest)


def run_ingest(spark: Any, settings: Settings, stages: Stages, *, once: bool) -> dict[str, Any]:
    """Ingest with a line a batch, and what `recgraph ingest --json` says."""
    from recgraph import pipeline
    from recgraph.services import kafka
    from recgraph.services.embedded import ensure_kafka

    bootstrap = ensure_kafka(settings, err.print)
    topic = kafka.describe_topic(bootstrap, settings.topic)
    description = f"taking in {settings.topic} from {bootstrap}"
    with stages("ingest", description), _stop_signal() as stop, _progress_writer(settings) as write:
        n_taken = [0, 0]

        def on_progress(batch: "BatchCounts", progress: "IngestProgress") -> None:
            n_taken[0] += batch.accepted
            n_taken[1] += batch.rejected
            taken = f"{batch.accepted:,} accepted, {batch.rejected:,} rejected"
            err.print(f"  batch {batch.batch_id}: {taken}; {progress.accepted:,} in all")
            write(progress)

        progress = pipeline.ingest(
            spark,
            settings,
            bootstrap=bootstrap,
            topic_id=topic.id,
            once=once,
            stop=stop,
            on_progress=on_progress,
        )
    return {
        "accepted": n_taken[0],
        "rejected": n_taken[1],
        "accepted_in_all": progress.accepted,
        "rejected_in_all": progress.rejected,
        "last_occurred_at": progress.last_occurred_at,
        "seconds": stages.seconds,
    }


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a batch ends before the process does."""
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress_writer(settings: Settings) -> "Iterator[Callable[[IngestProgress], None]]":
    """A function that tells the dashboard how far ingest has come.

    Ingest does not need MongoDB: without a server nobody is told, and one that goes away is
    logged and asked again after the next batch.
    """
    from recgraph.services.embedded import find_mongo
    from recgraph.services.mongo import open_store

    uri = find_mongo(settings)
    if uri is None:
        yield lambda progress: None
        return
    with open_store(uri, settings.mongo_database) as store:

        def write(progress: "IngestProgress") -> None:
            try:
                store.write_progress(progress)
            except StoreError as error:
                log.warning("the dashboard was not told of this batch", cause=str(error))

        yield write


def _render_ingest(summary: Mapping[str, Any]) -> RenderableType:
    table = Table("", "accepted", "rejected")
    table.add_row("now", f"{summary['accepted']:,}", f"{summary['rejected']:,}")
    in_all = (summary["accepted_in_all"], summary["rejected_in_all"])
    table.add_row("in all", *(f"{count:,}" for count in in_all))
    return table
