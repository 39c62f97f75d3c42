"""`recgraph rejected`: what was turned away and why; mended, it is sent again."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from recgraph import messages
from recgraph.cli.base import AsJson, app, err, report
from recgraph.config import Settings, load_settings
from recgraph.errors import ServiceError
from recgraph.events import Reason, Rejection, Rules, rules_from_settings
from recgraph.messages import Mending

if TYPE_CHECKING:
    from recgraph.spark.rejected import RejectedTopic
    from recgraph.tables import RejectedMessage

_SHOWN_LENGTH = 200
"""Characters of a raw message that are shown."""

rejected_app = typer.Typer(no_args_is_help=True, help="Messages that were no sale, and why.")
app.add_typer(rejected_app, name="rejected", rich_help_panel="Events")

Reasons = Annotated[
    list[Reason] | None,
    typer.Option("--reason", help="Only those rejected for this reason; may be repeated."),
]


def ensure_rejected_topic(settings: Settings, bootstrap: str) -> "RejectedTopic | None":
    """Where ingest sends rejected messages, made if need be; None when the settings send none."""
    from recgraph.services import kafka
    from recgraph.spark.rejected import RejectedTopic

    if not settings.send_rejected:
        return None
    name = settings.rejected_topic
    kafka.ensure_topic(bootstrap, name, n_partitions=settings.topic_partitions)
    return RejectedTopic(name, kafka.max_message_bytes(bootstrap, name))


@rejected_app.command("list")
def list_(
    reason: Reasons = None,
    limit: Annotated[int, typer.Option(min=1, help="Show so many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Count the rejected messages by reason, and show the newest.

    A message stays listed after it was mended and sent again: the table is the record of what came
    in. Each is also on the topic <topic>.rejected, raw, with the reason in its headers.
    """
    from recgraph import tables

    path = load_settings().rejected_dir
    by_reason = tables.count_rejected(path)
    newest = tables.read_newest_rejected(path, limit=limit, reasons=reason)
    summary = {
        "rejected": sum(by_reason.values()),
        "by_reason": by_reason,
        "messages": [_shown(message) for message in newest],
    }
    report(summary, as_json=as_json, render=_render_list)


def _shown(message: "RejectedMessage") -> dict[str, Any]:
    return {
        "topic_id": message.topic_id,
        "partition": message.partition,
        "offset": message.offset,
        "ingested_at": message.ingested_at,
        "reason": message.reason,
        "detail": messages.readable(message.detail.encode(errors="replace"), _SHOWN_LENGTH),
        "n_bytes": len(message.raw or b""),
        "raw": messages.readable(message.raw, _SHOWN_LENGTH),
    }


def _render_list(summary: Mapping[str, Any]) -> RenderableType:
    if not summary["rejected"]:
        return "No message was rejected."
    counts = Table("reason", "messages")
    for reason, n in summary["by_reason"].items():
        counts.add_row(reason, f"{n:,}")
    message = Column("message", overflow="fold")
    newest = Table("taken in", "partition/offset", "reason", message)
    for each in summary["messages"]:
        place = f"{each['partition']}/{each['offset']}"
        # As text: what stands in a message is no markup.
        content = Text(f"{each['detail']}\n{each['raw']}")
        newest.add_row(f"{each['ingested_at']:%Y-%m-%d %H:%M:%S}", place, each["reason"], content)
    return Group(counts, newest)


@rejected_app.command()
def replay(
    reason: Reasons = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Give a field this value; may be repeated."
        ),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="Rename a field; may be repeated, is done first."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and send nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Mend rejected messages and send those to the topic that are sales now.

    Fields are names in the message's JSON object, dotted into nested ones; a value is JSON, or
    else text. A message without event id gets its original place as one, so that replaying twice
    counts once. Without --set and --rename it sends what newer settings accept.

      recgraph rejected replay --reason missing_field --set quantity=1 --dry-run

      recgraph rejected replay --rename qty=quantity --set user.note=null
    """
    from recgraph import tables

    settings = load_settings()
    mending = messages.mending_from_options(rename or [], set_ or [])
    replayed = _Replay(mending, rules_from_settings(settings))
    mended = replayed.mend_all(tables.read_rejected(settings.rejected_dir, reasons=reason))
    n_sent = _count(mended) if dry_run else _send(settings, mended)
    summary = {
        "read": replayed.n_read,
        "sent": n_sent,
        "still_rejected": dict(replayed.still_rejected.most_common()),
        "unmendable": replayed.n_unmendable,
        "dry_run": dry_run,
    }
    report(summary, as_json=as_json, render=_render_replay)


class _Replay:
    """Mends messages and counts what becomes of them."""

    def __init__(self, mending: Mending, rules: Rules) -> None:
        self._mending = mending
        self._rules = rules
        self.n_read = 0
        self.n_unmendable = 0
        self.still_rejected: Counter[str] = Counter()

    def mend_all(self, rejected: "Iterable[RejectedMessage]") -> Iterator[tuple[bytes, bytes]]:
        """Key and value of each message that is a sale now."""
        now = datetime.now(UTC)
        for message in rejected:
            self.n_read += 1
            raw = messages.mend(message.raw, self._mending)
            if raw is None:
                self.n_unmendable += 1
                continue
            found = messages.identify(raw, self._rules, now=now, spare_id=message.place)
            if isinstance(found, Rejection):
                self.still_rejected[found.reason.value] += 1
            else:
                yield found.user_id.encode(), found.raw


def _count(mended: Iterator[tuple[bytes, bytes]]) -> int:
    return sum(1 for _ in mended)


def _send(settings: Settings, mended: Iterator[tuple[bytes, bytes]]) -> int:
    """Send to the topic; return how many the broker has, which is all.

    Raises
    ------
    ServiceError
        The broker has not taken each.
    """
    from recgraph.services import kafka
    from recgraph.services.embedded import ensure_kafka

    first = next(mended, None)
    if first is None:  # nothing is started to send nothing
        return 0
    bootstrap = ensure_kafka(settings, err.print)
    kafka.ensure_topic(bootstrap, settings.topic, n_partitions=settings.topic_partitions)
    delivery = kafka.produce(bootstrap, settings.topic, chain([first], mended))
    if delivery.failed:
        message = (
            f"{delivery.failed:,} of {delivery.sent:,} messages were not taken by the broker: "
            f"{delivery.first_error}. Mend the cause and replay again: none will count twice."
        )
        raise ServiceError(message)
    return delivery.acknowledged


def _render_replay(summary: Mapping[str, Any]) -> RenderableType:
    table = Table(
        "would be sent" if summary["dry_run"] else "sent", "still rejected", "no JSON object"
    )
    still = "\n".join(f"{n:,} {reason}" for reason, n in summary["still_rejected"].items())
    table.add_row(f"{summary['sent']:,}", still or "0", f"{summary['unmendable']:,}")
    return table
