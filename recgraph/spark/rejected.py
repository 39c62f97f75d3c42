"""Rejected messages of a batch -> the topic of rejected messages, for whoever mends them.

One message each, written by the executors: none passes through the driver, however many come. The
value is the raw bytes, as they were, and all else stands in headers, as dead letter queues of
Kafka have it: a consumer can send the value on unchanged, and nothing is encoded that nobody
could decode in the first place. (JSON would need base64: a third larger, and no tool shows it.)

========================  ========================================================================
key                       ``<topic id>/<partition>/<offset>``: a batch that is run again is sent
                          again, and a consumer drops the copies by it
``topic`` ``topic_id``    where the message stood; the id tells a topic that was made anew
``partition`` ``offset``
``reason`` ``detail``     one of `recgraph.events.Reason`, and what was found
``ingested_at``           when it was read, ISO 8601
``original_length``       of the raw message in bytes; the value is shorter where the broker would
                          not take all of it
========================  ========================================================================

The Delta table of rejected messages stays the truth: it has each whole, and once.
"""

from typing import NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recgraph.columns import Columns as C

_ENVELOPE_BYTES = 4096
"""Left of the largest message for key, headers and framing."""
_DETAIL_LENGTH = 500
"""Characters of the detail that a header carries: 2,000 bytes at most."""
_BUFFER_BYTES = 32 * 1024 * 1024
"""What Kafka's producer buffers by default."""
_PATIENCE_MS = 120_000
"""How long a batch waits for a broker that is away; Kafka's default for what was sent already."""


class RejectedTopic(NamedTuple):
    """Where rejected messages are sent."""

    name: str
    max_message_bytes: int
    """Largest message that the broker takes there."""


def send_rejected(
    rejected: DataFrame, target: RejectedTopic, *, bootstrap: str, source_topic: str
) -> None:
    """Write a batch's rejected messages to their topic; at least once each.

    Parameters
    ----------
    rejected
        Frame of `recgraph.spark.events.read_rejected_files`.
    source_topic
        Topic that the messages were read from.
    """
    options = {
        "kafka.bootstrap.servers": bootstrap,
        "topic": target.name,
        "kafka.max.block.ms": str(_PATIENCE_MS),
        "kafka.max.request.size": str(target.max_message_bytes),
        "kafka.buffer.memory": str(max(_BUFFER_BYTES, target.max_message_bytes)),
    }
    messages = rejected_messages(rejected, source_topic, target.max_message_bytes)
    messages.write.format("kafka").options(**options).save()


def rejected_messages(rejected: DataFrame, source_topic: str, max_message_bytes: int) -> DataFrame:
    """The messages to send: key, value and headers, none larger than the broker takes."""
    place = [F.col(name).cast("string") for name in (C.TOPIC_ID, C.PARTITION, C.OFFSET)]
    headers = {
        C.TOPIC: F.lit(source_topic),
        C.TOPIC_ID: F.col(C.TOPIC_ID),
        C.PARTITION: F.col(C.PARTITION),
        C.OFFSET: F.col(C.OFFSET),
        C.REASON: F.col(C.REASON),
        C.DETAIL: F.left(C.DETAIL, F.lit(_DETAIL_LENGTH)),
        C.INGESTED_AT: F.date_format(C.INGESTED_AT, "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"),
        "original_length": F.coalesce(F.length(C.RAW), F.lit(0)),
    }
    max_value_bytes = max(0, max_message_bytes - _ENVELOPE_BYTES)
    return rejected.select(
        F.concat_ws("/", *place).cast("binary").alias("key"),
        F.substring(C.RAW, 1, max_value_bytes).alias("value"),
        F.array(*[_header(name, value) for name, value in headers.items()]).alias("headers"),
    )


def _header(name: str, value: Column) -> Column:
    return F.struct(F.lit(name).alias("key"), value.cast("string").cast("binary").alias("value"))
