"""`recgraph replay`: sale events onto the topic."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from recgraph.cli.base import AsJson, app, err, report
from recgraph.cli.columns import (
    EventIdColumn,
    ItemColumn,
    KindColumn,
    QuantityColumn,
    RatingColumn,
    TimeColumn,
    TimeFormat,
    TimeUnit,
    UserColumn,
    column_names,
)
from recgraph.config import Settings, load_settings
from recgraph.errors import InputError, ServiceError

if TYPE_CHECKING:
    from recgraph.services.kafka import Delivery
    from recgraph.sources import Message

log = structlog.get_logger()

Day = datetime
_DAY_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


@app.command(rich_help_panel="Events")
def replay(
    source: Annotated[
        str,
        typer.Argument(help="complete-journey, or a CSV, JSON Lines or Parquet file of sales."),
    ],
    user_column: UserColumn = "user_id",
    item_column: ItemColumn = "product_id",
    quantity_column: QuantityColumn = "quantity",
    time_column: TimeColumn = "occurred_at",
    event_id_column: EventIdColumn = None,
    rating_column: RatingColumn = None,
    kind_column: KindColumn = None,
    time_unit: TimeUnit = "iso",
    time_format: TimeFormat = None,
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

    columns = column_names(
        user=user_column,
        item=item_column,
        quantity=quantity_column,
        time=time_column,
        event_id=event_id_column,
        rating=rating_column,
        kind=kind_column,
        time_unit=time_unit,
        time_format=time_format,
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
