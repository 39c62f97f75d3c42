"""`recgraph users` and `recgraph keys`, through the real program."""

import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from typing import Any

import pytest
from pymongo.database import Database
from typer.testing import CliRunner

from recgraph.cli import app
from recgraph.config import Settings
from recgraph.errors import InputError

pytestmark = pytest.mark.services

ANN = "ann@example.com"
PASSWORD = "nine purple tram stops"
MongoDatabase = Database[dict[str, Any]]


@pytest.fixture(autouse=True)
def _environment(
    settings: Settings,
    mongo_uri: str,
    mongo_database: MongoDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECGRAPH_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("RECGRAPH_MONGO_URI", mongo_uri)
    monkeypatch.setenv("RECGRAPH_MONGO_DATABASE", mongo_database.name)


def run(*arguments: str, typed: str = "") -> str:
    """Return what a command prints on standard output; its error is raised."""
    result = CliRunner().invoke(app, arguments, input=typed, env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result.stdout


def run_json(*arguments: str, typed: str = "") -> Any:
    return json.loads(run(*arguments, "--json", typed=typed))


def add(email: str = ANN, *options: str) -> Any:
    return run_json("users", "add", email, "--password-stdin", *options, typed=PASSWORD + "\n")


def test_accounts_are_added_listed_changed_and_removed(mongo_database: MongoDatabase) -> None:
    assert run("users", "list").startswith("No account yet")
    assert add("Ann@Example.com", "--role", "operator")["email"] == ANN
    assert run_json("users", "role", ANN, "admin")["role"] == "admin"
    assert run_json("users", "disable", ANN)["is_active"] is False
    assert "disabled" in run("users", "list")
    assert run_json("users", "enable", "ANN@example.com")["is_active"] is True
    before = mongo_database["accounts"].find_one({})
    run("users", "passwd", ANN, "--password-stdin", typed="quiet marble lanterns 88\n")
    after = mongo_database["accounts"].find_one({})
    assert before is not None
    assert after is not None
    assert after["password_hash"] != before["password_hash"]
    (listed,) = run_json("users", "list")["users"]
    assert "password_hash" not in listed
    assert run_json("users", "remove", ANN) == {"removed": ANN}
    assert run_json("users", "list") == {"users": []}


@pytest.mark.parametrize(
    ("arguments", "typed", "problem"),
    [
        (["add", "ann", "--password-stdin"], PASSWORD, "no e-mail address"),
        (["add", ANN, "--role", "king", "--password-stdin"], PASSWORD, "viewer, operator, admin"),
        (["add", ANN, "--password-stdin"], "short", "expected 12 to 256"),
        (["add", ANN, "--password-stdin"], "", "of 0 characters"),
        (["add", ANN, "--password-stdin"], "password1234", "too easy"),
        (["add", ANN], PASSWORD, "--password-stdin"),
        (["passwd", ANN, "--password-stdin"], PASSWORD, "no account"),
        (["role", ANN, "admin"], "", "no account"),
        (["disable", ANN], "", "no account"),
        (["remove", '{"$gt": ""}'], "", "no account"),
    ],
)
def test_what_cannot_be_done_is_refused(arguments: list[str], typed: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        run("users", *arguments, typed=typed)
    assert run_json("users", "list") == {"users": []}


def test_second_account_of_an_address_is_refused_before_its_password_is_asked_for() -> None:
    add()
    with pytest.raises(InputError, match="has an account already"):
        run("users", "add", ANN.upper())


def test_password_is_asked_for_twice_without_echo() -> None:
    command = [sys.executable, "-m", "recgraph.cli", "users", "add", ANN, "--json"]
    leader, terminal = pty.openpty()
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, start_new_session=True
    ) as process:
        os.close(terminal)
        shown = b""
        for prompt in (b"Password", b"Repeat"):
            shown += read_until(leader, prompt)
            os.write(leader, PASSWORD.encode() + b"\n")
        out, _ = process.communicate(timeout=60)
    assert json.loads(out)["email"] == ANN
    assert PASSWORD.encode() not in shown
    os.close(leader)


def read_until(terminal: int, prompt: bytes) -> bytes:
    """Return what a terminal shows up to a prompt that has switched its echo off."""
    shown, deadline = b"", time.monotonic() + 60
    # What is typed before the echo is off would be flushed away.
    while prompt not in shown or termios.tcgetattr(terminal)[3] & termios.ECHO:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 1024)
    return shown


def test_key_is_shown_once_then_only_by_its_prefix(mongo_database: MongoDatabase) -> None:
    assert run("keys", "list").startswith("No key yet")
    made = run_json("keys", "add", "till 3", "--scope", "write", "--scope", "read")
    assert made["scopes"] == ["read", "write"]
    assert made["key"].startswith(made["prefix"])
    shown = run("keys", "add", "another")
    assert "cannot be shown again" in shown
    assert "rg_" in shown
    listed = run("keys", "list") + run("keys", "list", "--json")
    assert made["prefix"] in listed
    assert made["key"] not in listed
    assert made["key"] not in str(list(mongo_database["keys"].find()))
    assert run_json("keys", "revoke", made["prefix"]) == {"revoked": made["prefix"]}
    assert made["prefix"] not in run("keys", "list")


def test_key_can_expire() -> None:
    made = run_json("keys", "add", "guest", "--expires-days", "7")
    assert made["expires_at"] > made["created_at"]
    assert run_json("keys", "list")["keys"][0]["expires_at"] == made["expires_at"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["add", "till", "--scope", "operate"], "read, write, admin"),
        (["add", " "], "key name"),
        (["revoke", "rg_00000000"], "no key begins"),
        (["revoke", "$gt"], "no key begins"),
    ],
)
def test_key_that_cannot_be_is_refused(arguments: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        run("keys", *arguments)
    assert run_json("keys", "list") == {"keys": []}
