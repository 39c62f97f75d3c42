"""MongoAccounts against a real server: accounts, sessions, keys, wrong sign-ins."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.database import Database

from recgraph.accounts import Principal, prefix_of
from recgraph.config import Settings
from recgraph.errors import InputError, StoreUnavailable
from recgraph.services import remembered
from recgraph.services.accounts import MongoAccounts
from recgraph.services.attempts import ACCOUNT, ADDRESS, FIRST_WAIT_S, Limit
from recgraph.services.connection import open_connection
from recgraph.services.embedded import ensure_mongo, service_states, stop_all

pytestmark = pytest.mark.services

ANN = "ann@example.com"
HASH = "$argon2id$not-a-real-one"
MongoDatabase = Database[dict[str, Any]]


@pytest.fixture
def accounts(mongo_uri: str, mongo_database: MongoDatabase) -> Iterator[MongoAccounts]:
    with open_connection(mongo_uri, mongo_database.name) as connection:
        yield MongoAccounts(connection)


@pytest.fixture
def elsewhere(mongo_uri: str, mongo_database: MongoDatabase) -> Iterator[MongoAccounts]:
    """The same accounts as another server process sees them."""
    with open_connection(mongo_uri, mongo_database.name) as connection:
        yield MongoAccounts(connection)


def in_parallel(n: int, work: Callable[[int], Any]) -> list[Any]:
    """Return what ``n`` threads did that started at the same moment."""
    start, results = threading.Barrier(n), []

    def run(i: int) -> None:
        start.wait()
        try:
            results.append(work(i))
        except InputError as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# --- people -------------------------------------------------------------------------------------


def test_account_is_read_as_it_was_made(accounts: MongoAccounts) -> None:
    made = accounts.people.add("Ann@Example.com", "operator", HASH)
    assert (made.email, made.role, made.is_active) == (ANN, "operator", True)
    assert accounts.people.get(" ANN@example.com") == made
    assert accounts.people.credentials(ANN) == (made, HASH)
    assert accounts.people.all() == [made]


def test_one_account_an_address_however_it_is_spelled(accounts: MongoAccounts) -> None:
    spellings = ["ann@example.com", "ANN@example.com", " Ann@Example.Com", "aNN@example.com "]
    results = in_parallel(4, lambda i: accounts.people.add(spellings[i], "viewer", HASH))
    assert sum(isinstance(result, InputError) for result in results) == 3
    assert len(accounts.people.all()) == 1


@pytest.mark.parametrize(
    "email", ["", "nobody@x.com", "$gt", '{"$gt": ""}', "\x00", "\ud800", "x" * 9999]
)
def test_unknown_account_is_none_and_cannot_be_changed(accounts: MongoAccounts, email: str) -> None:
    accounts.people.add(ANN, "viewer", HASH)
    people = accounts.people
    assert people.get(email) is None
    for change in (
        lambda: people.set_password(email, HASH),
        lambda: people.set_role(email, "admin"),
        lambda: people.set_active(email, is_active=False),
        lambda: people.remove(email),
    ):
        with pytest.raises(InputError, match="no account"):
            change()
    assert len(people.all()) == 1


def test_accounts_survive_a_server_that_is_killed(settings: Settings, mongo_uri: str) -> None:
    uri = ensure_mongo(settings)
    with open_connection(uri, "killed") as connection:
        MongoAccounts(connection).people.add(ANN, "admin", HASH)
        _, secret = MongoAccounts(connection).keys.add("till", ("read",), None)
        _kill_server(settings)
    with open_connection(ensure_mongo(settings), "killed") as connection:
        again = MongoAccounts(connection)
        assert [account.email for account in again.people.all()] == [ANN]
        assert again.keys.principal(secret) is not None
    stop_all(settings)


def _kill_server(settings: Settings) -> None:
    (pid,) = [state.pid for state in service_states(settings) if state.pid]
    os.kill(pid, signal.SIGKILL)


# --- sessions -----------------------------------------------------------------------------------


def test_session_is_whose_it_began_for(accounts: MongoAccounts) -> None:
    account = accounts.people.add(ANN, "viewer", HASH)
    token = accounts.sessions.begin(account)
    signed_in = accounts.sessions.principal(token)
    assert signed_in is not None
    assert (signed_in.kind, signed_in.id, signed_in.name) == ("account", account.id, ANN)
    owner = accounts.sessions.principal(accounts.sessions.begin(None))
    assert owner is not None
    assert (owner.kind, owner.role) == ("link", "admin")


@pytest.mark.parametrize("token", ["", "wrong", "\x00", "\ud800", "$gt", "x" * 9999])
def test_unknown_token_is_nobody(accounts: MongoAccounts, token: str) -> None:
    accounts.sessions.begin(None)
    assert accounts.sessions.principal(token) is None


def test_session_holds_no_secret(accounts: MongoAccounts, mongo_database: MongoDatabase) -> None:
    token = accounts.sessions.begin(None)
    assert token not in str(list(mongo_database["sessions"].find()))


def test_session_ends_everywhere(
    accounts: MongoAccounts, elsewhere: MongoAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = accounts.sessions.begin(None)
    assert elsewhere.sessions.principal(token) is not None
    accounts.sessions.end(token)
    assert accounts.sessions.principal(token) is None
    monkeypatch.setattr(remembered, "FRESH_S", 0.0)  # what is a second later
    assert elsewhere.sessions.principal(token) is None


def test_expired_session_is_nobody(accounts: MongoAccounts, mongo_database: MongoDatabase) -> None:
    token = accounts.sessions.begin(None)
    past = {"$set": {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}}
    mongo_database["sessions"].update_one({}, past)
    assert accounts.sessions.principal(token) is None


def test_sessions_know_of_a_change_in_this_process_at_once(accounts: MongoAccounts) -> None:
    account = accounts.people.add(ANN, "viewer", HASH)
    token = accounts.sessions.begin(account)
    assert accounts.sessions.principal(token) is not None
    accounts.people.set_role(ANN, "admin")
    changed = accounts.sessions.principal(token)
    assert changed is not None
    assert changed.role == "admin"
    accounts.people.set_password(ANN, "another")
    assert accounts.sessions.principal(token) is None


# --- keys ---------------------------------------------------------------------------------------


def test_key_is_shown_once_and_listed_by_its_prefix(
    accounts: MongoAccounts, mongo_database: MongoDatabase
) -> None:
    key, secret = accounts.keys.add("till 3", ("read", "write"), None)
    assert key.prefix == prefix_of(secret)
    assert accounts.keys.all() == [key]
    assert secret[12:] not in str(list(mongo_database["keys"].find()))
    used = accounts.keys.principal(secret)
    assert used == Principal("key", key.prefix, "till 3", frozenset({"read", "write"}))


def test_use_of_a_key_is_noted(accounts: MongoAccounts) -> None:
    _, secret = accounts.keys.add("till 3", ("read",), None)
    before = datetime.now(UTC)
    accounts.keys.principal(secret)
    (key,) = accounts.keys.all()
    assert key.last_used_at is not None
    assert abs(key.last_used_at - before) < timedelta(seconds=10)


def test_wrong_key_is_nobody(accounts: MongoAccounts) -> None:
    _, secret = accounts.keys.add("till 3", ("read",), None)
    for wrong in ("", "rg_", secret[:-1], secret + "x", secret.upper(), "\x00", "\ud800", "$gt"):
        assert accounts.keys.principal(wrong) is None


def test_revoked_key_is_refused_at_once_and_elsewhere(
    accounts: MongoAccounts, elsewhere: MongoAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, secret = accounts.keys.add("till 3", ("read",), None)
    assert accounts.keys.principal(secret) is not None
    assert elsewhere.keys.principal(secret) is not None
    accounts.keys.revoke(key.prefix)
    assert accounts.keys.principal(secret) is None
    monkeypatch.setattr(remembered, "FRESH_S", 0.0)
    assert elsewhere.keys.principal(secret) is None
    with pytest.raises(InputError, match="no key begins"):
        accounts.keys.revoke(key.prefix)


def test_expired_key_is_refused(accounts: MongoAccounts) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    assert accounts.keys.principal(accounts.keys.add("a", ("read",), soon)[1]) is not None
    past = datetime.now(UTC) - timedelta(seconds=1)
    assert accounts.keys.principal(accounts.keys.add("b", ("read",), past)[1]) is None


def test_many_requests_with_a_key_are_one_find(
    accounts: MongoAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret = accounts.keys.add("till 3", ("read",), None)
    assert accounts.keys.principal(secret) is not None
    finds = []
    read = accounts.keys._remembered._read
    monkeypatch.setattr(
        accounts.keys._remembered, "_read", lambda key: finds.append(key) or read(key)
    )
    for _ in range(1_000):
        accounts.keys.principal(secret)
    assert len(finds) <= 2


# --- wrong sign-ins -----------------------------------------------------------------------------


def test_waits_grow_up_to_their_limit() -> None:
    limit = Limit(n_free=2, max_wait_s=60.0)
    assert [limit.wait_s(n) for n in range(1, 5)] == [0, FIRST_WAIT_S, 4, 8]
    assert limit.wait_s(10**6) == 60


def test_account_waits_after_wrong_sign_ins_from_anywhere(
    accounts: MongoAccounts, elsewhere: MongoAccounts
) -> None:
    waits = [accounts.attempts.begin(ANN, f"192.0.2.{i}") for i in range(ACCOUNT.n_free)]
    assert waits == [0.0] * ACCOUNT.n_free
    assert 0 < elsewhere.attempts.begin(" ANN@example.com", "192.0.2.99") <= FIRST_WAIT_S
    assert elsewhere.attempts.begin("bob@example.com", "192.0.2.99") == 0.0


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
def test_address_waits_after_wrong_sign_ins_to_any_account(
    accounts: MongoAccounts, first: str, second: str, is_same: bool
) -> None:
    for i in range(ADDRESS.n_free):
        assert accounts.attempts.begin(f"user{i}@example.com", first) == 0.0
    assert (accounts.attempts.begin(None, second) > 0) is is_same


def test_waiting_is_over_in_time_and_forgotten_later(
    accounts: MongoAccounts, mongo_database: MongoDatabase
) -> None:
    for _ in range(ACCOUNT.n_free):
        accounts.attempts.begin(ANN, "192.0.2.1")
    assert accounts.attempts.begin(ANN, "192.0.2.1") > 0
    counts, past = mongo_database["attempts"], datetime.now(UTC) - timedelta(seconds=1)
    counts.update_many({}, {"$set": {"until": past}})
    assert accounts.attempts.begin(ANN, "192.0.2.1") == 0.0
    assert FIRST_WAIT_S < accounts.attempts.begin(ANN, "192.0.2.1") <= 2 * FIRST_WAIT_S
    counts.update_many({}, {"$set": {"until": past, "forget_at": past}})
    assert accounts.attempts.begin(ANN, "192.0.2.1") == 0.0
    assert accounts.attempts.begin(ANN, "192.0.2.1") == 0.0


def test_right_sign_in_frees_the_account_but_not_the_address(accounts: MongoAccounts) -> None:
    for round_ in range(ADDRESS.n_free // 4):
        for _ in range(4):
            assert accounts.attempts.begin(f"victim{round_}@example.com", "192.0.2.1") == 0.0
        if accounts.attempts.begin("own@example.com", "192.0.2.1") == 0.0:
            accounts.attempts.succeed("own@example.com", "192.0.2.1")
    assert accounts.attempts.begin(ANN, "192.0.2.1") > 0


def test_many_at_once_get_no_more_than_their_free_attempts(accounts: MongoAccounts) -> None:
    waits = in_parallel(20, lambda i: accounts.attempts.begin(ANN, f"192.0.2.{i}"))
    assert sum(wait == 0.0 for wait in waits) <= ACCOUNT.n_free


# --- the server away ----------------------------------------------------------------------------


def test_who_is_signed_in_stays_so_while_the_server_is_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_connection(ensure_mongo(settings), "away", longest_s=5.0) as connection:
        accounts = MongoAccounts(connection)
        account = accounts.people.add(ANN, "viewer", HASH)
        token, other = (accounts.sessions.begin(account) for _ in range(2))
        assert accounts.sessions.principal(token) is not None
        assert accounts.sessions.principal(other) is not None
        _kill_server(settings)
        for refused in (
            lambda: accounts.people.all(),
            lambda: accounts.sessions.end(other),
            lambda: accounts.sessions.principal(other),
            lambda: accounts.attempts.begin(ANN, "192.0.2.1"),
        ):
            with pytest.raises(StoreUnavailable):
                refused()
        monkeypatch.setattr(remembered, "FRESH_S", 0.0)
        assert accounts.sessions.principal(token) is not None
        monkeypatch.setattr(remembered, "GRACE_S", 0.0)
        with pytest.raises(StoreUnavailable):
            accounts.sessions.principal(token)
    stop_all(settings)
