"""`recgraph users`: who may sign in to the dashboard, and as what.

A password is read without echo or from standard input: never from the command line, which every
other user of a machine can read.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.table import Table

from recgraph.accounts import ROLES, Account, parse_email, parse_role
from recgraph.cli.base import AsJson, app, report
from recgraph.cli.generations import opened_store
from recgraph.config import Settings, load_settings
from recgraph.errors import InputError
from recgraph.passwords import check_password, hash_password

if TYPE_CHECKING:
    from recgraph.services.accounts import MongoAccounts

users_app = typer.Typer(no_args_is_help=True, help="Who may sign in, and as what.")
app.add_typer(users_app, name="users", rich_help_panel="Dashboard")

_LONGEST_LINE = 4096

Email = Annotated[str, typer.Argument(help="E-mail address; capitals do not matter.")]
RoleName = Annotated[str, typer.Option("--role", help=f"One of {', '.join(ROLES)}.")]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


@contextmanager
def opened_accounts(settings: Settings) -> "Iterator[MongoAccounts]":
    """Give the accounts of the settings; the embedded server is started when need be."""
    from recgraph.services.accounts import MongoAccounts

    with opened_store(settings) as store:
        yield MongoAccounts(store.connection)


@users_app.command()
def add(
    email: Email,
    role: RoleName = "viewer",
    password_stdin: FromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Add an account, with a password that is asked for twice."""
    address, chosen = parse_email(email), parse_role(role)
    with opened_accounts(load_settings()) as accounts:
        if accounts.people.get(address):
            message = f"{address} has an account already; `recgraph users passwd` changes it."
            raise InputError(message)
        password = _read_password(address, from_stdin=password_stdin)
        _show(accounts.people.add(address, chosen, hash_password(password)), as_json=as_json)


@users_app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the accounts."""
    with opened_accounts(load_settings()) as accounts:
        summary = {"users": [msgspec.structs.asdict(each) for each in accounts.people.all()]}
    report(summary, as_json=as_json, render=_render)


@users_app.command()
def disable(email: Email, as_json: AsJson = False) -> None:
    """Let an account sign in no more; its sessions end within a second."""
    with opened_accounts(load_settings()) as accounts:
        _show(accounts.people.set_active(email, is_active=False), as_json=as_json)


@users_app.command()
def enable(email: Email, as_json: AsJson = False) -> None:
    """Let a disabled account sign in again."""
    with opened_accounts(load_settings()) as accounts:
        _show(accounts.people.set_active(email, is_active=True), as_json=as_json)


@users_app.command()
def passwd(email: Email, password_stdin: FromStdin = False, as_json: AsJson = False) -> None:
    """Give an account another password; its sessions end within a second."""
    with opened_accounts(load_settings()) as accounts:
        account = accounts.people.get(email)
        if account is None:
            message = f"{email!r} has no account; `recgraph users add` makes one."
            raise InputError(message)
        password = _read_password(account.email, from_stdin=password_stdin)
        _show(accounts.people.set_password(email, hash_password(password)), as_json=as_json)


@users_app.command()
def role(
    email: Email,
    new_role: Annotated[str, typer.Argument(metavar="ROLE", help=f"One of {', '.join(ROLES)}.")],
    as_json: AsJson = False,
) -> None:
    """Give an account another role, within a second also where it is signed in."""
    chosen = parse_role(new_role)
    with opened_accounts(load_settings()) as accounts:
        _show(accounts.people.set_role(email, chosen), as_json=as_json)


@users_app.command()
def remove(email: Email, as_json: AsJson = False) -> None:
    """Remove an account; its sessions end within a second."""
    with opened_accounts(load_settings()) as accounts:
        accounts.people.remove(email)
    report({"removed": email}, as_json=as_json, render=lambda done: f"removed {done['removed']}")


def _read_password(email: str, *, from_stdin: bool) -> str:
    """Return a password that may be used.

    Raises
    ------
    InputError
        Nobody is there to be asked, or the password is not good enough.
    """
    if from_stdin:
        password = sys.stdin.readline(_LONGEST_LINE).rstrip("\r\n")
    elif sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        message = "no terminal to ask for the password; pipe it in with --password-stdin."
        raise InputError(message)
    check_password(password, email=email)
    return password


def _show(account: Account, *, as_json: bool) -> None:
    report(
        msgspec.structs.asdict(account),
        as_json=as_json,
        render=lambda summary: _render({"users": [summary]}),
    )


def _render(summary: Mapping[str, Any]) -> Table | str:
    if not summary["users"]:
        return "No account yet. Make one: recgraph users add ann@example.com"
    table = Table("e-mail", "role", "", "created", "last signed in")
    for user in summary["users"]:
        state = "" if user["is_active"] else "disabled"
        created, seen = (day(user[name]) for name in ("created_at", "last_signed_in_at"))
        table.add_row(user["email"], user["role"], state, created, seen)
    return table


def day(at: datetime | None) -> str:
    """Return a time to the minute in UTC, or ``never``."""
    return f"{at:%Y-%m-%d %H:%M}" if at else "never"
