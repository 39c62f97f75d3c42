"""`recgraph keys`: what programs use the REST API with."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from recgraph.accounts import KEY_SCOPES, ApiKey, parse_key_name, parse_key_scopes
from recgraph.cli.base import AsJson, app, report
from recgraph.cli.users import day, opened_accounts
from recgraph.config import load_settings

keys_app = typer.Typer(no_args_is_help=True, help="Keys of programs for the REST API.")
app.add_typer(keys_app, name="keys", rich_help_panel="Dashboard")

Scopes = Annotated[
    list[str],
    typer.Option("--scope", help=f"One of {', '.join(KEY_SCOPES)}; may be given several times."),
]


@keys_app.command()
def add(
    name: Annotated[str, typer.Argument(help="What uses it, such as `till 3`.")],
    scopes: Scopes = ["read"],  # noqa: B006  typer copies it
    expires_days: Annotated[
        int | None,
        typer.Option(min=1, max=36_500, help="Days it is good for; unset, until revoked."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, and show it this once.

    Scopes add up: `read` gives lists and products, `write` takes events and feedback, `admin` all.
    """
    chosen, named = parse_key_scopes(scopes), parse_key_name(name)
    now = datetime.now(UTC).replace(microsecond=0)
    expires_at = None if expires_days is None else now + timedelta(days=expires_days)
    with opened_accounts(load_settings()) as accounts:
        key, secret = accounts.keys.add(named, chosen, expires_at)
    summary = msgspec.structs.asdict(key) | {"key": secret}
    report(summary, as_json=as_json, render=_render_new)


@keys_app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the keys by their first characters; the rest is not kept anywhere."""
    with opened_accounts(load_settings()) as accounts:
        keys = accounts.keys.all()
    summary = {"keys": [msgspec.structs.asdict(key) for key in keys]}
    report(summary, as_json=as_json, render=lambda _: _render(keys))


@keys_app.command()
def revoke(
    prefix: Annotated[str, typer.Argument(help="As `recgraph keys list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """End a key: it is refused within a second."""
    with opened_accounts(load_settings()) as accounts:
        accounts.keys.revoke(prefix)
    report({"revoked": prefix}, as_json=as_json, render=lambda done: f"revoked {done['revoked']}")


def _render_new(summary: Mapping[str, Any]) -> Text:
    return Text.assemble(
        "Keep this key now; it cannot be shown again:\n\n  ",
        (summary["key"], "bold cyan"),
        "\n\nUse it as a header: ",
        ("Authorization: Bearer KEY", "bold"),
        " or ",
        ("X-API-Key: KEY", "bold"),
        no_wrap=True,
        overflow="ignore",
    )


def _render(keys: list[ApiKey]) -> Table | str:
    if not keys:
        return "No key yet. Make one: recgraph keys add NAME --scope read"
    table = Table("key", "name", "scopes", "created", "last used", "expires")
    for key in keys:
        expires = "expired" if key.is_expired() else day(key.expires_at)
        used = day(key.last_used_at)
        scopes = ", ".join(key.scopes)
        table.add_row(f"{key.prefix}…", key.name, scopes, day(key.created_at), used, expires)
    return table
