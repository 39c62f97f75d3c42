"""The options of `recgraph replay` and `recgraph import` that say how a file is read."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recgraph.errors import InputError

if TYPE_CHECKING:
    from recgraph.sources import ColumnNames

UserColumn = Annotated[str, typer.Option(help="Column of the user's id.")]
ItemColumn = Annotated[str, typer.Option(help="Column of the product's id.")]
QuantityColumn = Annotated[
    str, typer.Option(help="Column of the quantity; '' where each row counts one.")
]
TimeColumn = Annotated[str, typer.Option(help="Column of the time.")]
EventIdColumn = Annotated[
    str | None, typer.Option(help="Column that identifies the sale; else its content does.")
]
RatingColumn = Annotated[
    str | None, typer.Option(help="Column of a rating, for explicit feedback.")
]
KindColumn = Annotated[
    str | None, typer.Option(help="Column of what happened (purchase, view, cart...).")
]
TimeUnit = Annotated[
    Literal["iso", "s", "ms"],
    typer.Option(help="Times are ISO 8601, or seconds or milliseconds since 1970."),
]
TimeFormat = Annotated[
    str | None,
    typer.Option(help="How times are written, as '%m/%d/%Y %H:%M' for 12/31/2010 8:26."),
]


def column_names(
    *,
    user: str,
    item: str,
    quantity: str,
    time: str,
    event_id: str | None,
    rating: str | None,
    kind: str | None,
    time_unit: Literal["iso", "s", "ms"],
    time_format: str | None,
) -> "ColumnNames":
    """The columns that the options name.

    Raises
    ------
    InputError
        The time format is none.
    """
    from recgraph.sources import ColumnNames

    if time_format is not None:
        _check_time_format(time_format)
    return ColumnNames(
        user=user,
        item=item,
        quantity=quantity or None,
        time=time,
        event_id=event_id,
        rating=rating,
        kind=kind,
        time_unit=time_unit,
        time_format=time_format,
    )


def _check_time_format(time_format: str) -> None:
    """Refuse a format that cannot even read what it has written."""
    written = datetime(2010, 12, 31, 8, 26, tzinfo=UTC).strftime(time_format)
    try:
        datetime.strptime(written, time_format)  # noqa: DTZ007 - only whether it can be read
    except ValueError as error:
        message = f"--time-format {time_format!r}: {error}; expected one such as '%m/%d/%Y %H:%M'."
        raise InputError(message) from None
