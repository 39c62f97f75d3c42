"""`recgraph serve` and `recgraph link`: the dashboard, and one-time links into it.

What the pages are made of is put together in `recgraph.cli.composing`, in each process.
"""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from urllib.parse import quote

import msgspec
import typer
from rich.text import Text

from recgraph.cli.base import AsJson, app, err, out
from recgraph.cli.composing import make_server
from recgraph.cli.listening import (
    allowed_hosts,
    announced,
    find_running,
    listening,
    running_note,
    url_of,
)
from recgraph.cli.stream import stream_beside
from recgraph.config import PREFIX, Settings, load_settings
from recgraph.errors import ConfigError, GenerationError, ServiceError, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from dashboards.auth import Links


@app.command(rich_help_panel="Dashboard")
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; one a core, at most 4.")] = None,
    with_stream: Annotated[
        bool, typer.Option("--stream/--no-stream", help="Run `recgraph stream` beside it.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Serve the dashboard and the REST API, and print a link that signs one browser in, once.

    The pages show the current generation: what `recgraph publish` published last. Ctrl-C stops
    it. Whoever signed in stays so over a restart; `recgraph link` prints a further link.
    """
    settings = load_settings(host=host, port=port, workers=workers)
    with listening(settings.host, settings.port) as listener, _metrics(settings) as metrics:
        uri = _prepared(settings)
        own_port = listener.getsockname()[1]
        url = url_of(settings.host, own_port)
        beside = stream_beside(settings, own_port) if with_stream else nullcontext()
        with announced(running_note(settings), url), beside:
            summary = _summary(_links(settings), settings.public_url or url)
            _show(summary | metrics.said, as_json=as_json)
            _warn_of_plain_http(settings.host)
            _answer(settings, uri, listener, metrics)


def _answer(settings: Settings, uri: str, listener: socket.socket, metrics: "_Metrics") -> None:
    """Answer requests until a signal comes."""
    # Imported here, once: what is imported before the processes fork, they share.
    import dashboards.app  # noqa: F401
    from dashboards.workers import run_workers

    links, hosts = _links(settings), allowed_hosts(settings.host)
    run_workers(
        lambda: make_server(settings, uri, links, hosts),
        listener,
        n_workers=settings.workers,
        on_worker=metrics.on_worker,
        on_worker_end=metrics.on_worker_end,
    )


@app.command(rich_help_panel="Dashboard")
def link(as_json: AsJson = False) -> None:
    """Print a new one-time link into the dashboard that runs on this machine.

    For another browser, or when the first link was used already. It works once, within a day.
    """
    settings = load_settings()
    running = find_running(settings)
    if running is None:
        message = (
            f"no dashboard runs on {settings.data_dir}. Start one, which prints a link as well: "
            "`recgraph serve`."
        )
        raise ServiceError(message)
    url = settings.public_url or running.url
    _show(_summary(_links(settings), url), as_json=as_json)


class _Metrics(NamedTuple):
    """What the processes do for Prometheus."""

    said: dict[str, str]
    on_worker: Callable[[], None]
    on_worker_end: Callable[[int], None]


@contextmanager
def _metrics(settings: Settings) -> Iterator[_Metrics]:
    """Give what answers Prometheus on a port of its own, if a setting asks for it."""
    from dashboards import metrics

    if settings.serve_metrics_port is None:
        yield _Metrics({}, lambda: None, lambda pid: None)
        return
    metrics.count_in_files(settings.data_dir / "dashboard" / "metrics")
    with ExitStack() as stack:
        try:
            listener = stack.enter_context(listening("127.0.0.1", settings.serve_metrics_port))
        except ServiceError:
            message = f"127.0.0.1:{settings.serve_metrics_port} is taken. Choose another, or 0."
            raise ConfigError(PREFIX + "SERVE_METRICS_PORT", message) from None
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
        answer = partial(metrics.answer_prometheus, listener)
        yield _Metrics({"metrics": url}, answer, metrics.forget_process)


def _prepared(settings: Settings) -> str:
    """Return the URI of a MongoDB server that answers, with what it lost published again."""
    from recgraph.services.embedded import ensure_mongo
    from recgraph.services.mongo import open_store
    from recgraph.services.publish import ensure_published

    uri = ensure_mongo(settings, notify=err.print)
    with open_store(uri, settings.mongo_database) as store:
        try:
            ensure_published(store, settings.generations_dir, keep=settings.keep_generations)
        except StoreUnavailable:
            raise
        except (GenerationError, StoreError) as error:  # no reason not to show what there is
            err.print("warning:", style="yellow", end=" ")
            err.print(str(error), markup=False, highlight=False, soft_wrap=True)
    return uri


def _links(settings: Settings) -> "Links":
    from dashboards.auth import Links

    return Links(settings.data_dir / "dashboard" / "links")


def _summary(links: "Links", url: str) -> dict[str, Any]:
    return {"url": f"{url}/sign-in?token={quote(links.new_token())}", "pid": os.getpid()}


def _show(summary: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(summary).decode())
        return
    metrics = ["\n\nPrometheus: ", summary["metrics"]] if "metrics" in summary else []
    text = Text.assemble(
        "Open this link; it signs one browser in, once:\n\n  ",
        (str(summary["url"]), "bold cyan"),
        "\n\nFor another browser: ",
        ("recgraph link", "bold"),
        *metrics,
    )
    out.print(text, soft_wrap=True)  # a link that is broken over lines cannot be copied


def _warn_of_plain_http(host: str) -> None:
    if host not in {"127.0.0.1", "localhost", "::1"}:
        err.print(
            "warning: others on the network can reach this address, and read along: the "
            "dashboard speaks plain HTTP. Let only a proxy with TLS reach it, and set "
            "RECGRAPH_PUBLIC_URL to the proxy's address.",
            style="yellow",
        )
