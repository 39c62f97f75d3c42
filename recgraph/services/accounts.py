"""MongoDB as `recgraph.ports.Accounts`: who may sign in, who is signed in, and with which keys.

============  ============================================================================
``accounts``  a person; ``_id`` is the folded e-mail address, which makes it unique
``sessions``  who is signed in; ``_id`` is the hash of a random token; gone when expired
``keys``      a program; ``_id`` is the key's public prefix, beside the hash of all of it
``attempts``  wrong sign-ins (`recgraph.services.attempts`)
============  ============================================================================

These are the only copy there is, so each write is journalled and acknowledged by the majority.
"""

import hmac
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
from pymongo import ReturnDocument, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from recgraph.accounts import (
    SESSION_LIFETIME,
    Account,
    ApiKey,
    KeyScope,
    Principal,
    Role,
    digest_of,
    fold_email,
    new_key_secret,
    prefix_of,
    principal_from_account,
    principal_from_key,
    principal_of_this_machine,
)
from recgraph.errors import InputError
from recgraph.services.attempts import MongoAttempts
from recgraph.services.connection import Connection, Document, explained
from recgraph.services.remembered import Remembered

_DURABLE = WriteConcern("majority", j=True, wtimeout=5_000)
_USED_EVERY = timedelta(minutes=1)
"""A key's last use is written once in so long."""


class MongoAccounts:
    """`recgraph.ports.Accounts` over one database; safe to share between threads, not processes."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.sessions = MongoSessions(connection)
        self.people = MongoPeople(connection, on_change=self.sessions.forget_all)
        self.keys = MongoKeys(connection)
        self.attempts = MongoAttempts(connection)

    def ping(self) -> None:
        """Return when the server answers."""
        self.connection.ping()


class MongoPeople:
    """`recgraph.ports.People`."""

    def __init__(self, connection: Connection, on_change: Callable[[], None]) -> None:
        self.connection = connection
        self._accounts = _collection(connection, "accounts")
        self._on_change = on_change

    @explained
    def add(self, email: str, role: Role, password_hash: str) -> Account:
        """Return a new account; `InputError` when there is one already."""
        account = Account(secrets.token_hex(8), fold_email(email), role, True, _now())
        fields = msgspec.to_builtins(account, builtin_types=(datetime,))
        document = {"_id": _id_from(email), "password_hash": password_hash, **fields}
        try:
            self._accounts.insert_one(document)
        except DuplicateKeyError:
            message = f"{account.email} has an account already; `recgraph users list` shows it."
            raise InputError(message) from None
        return account

    def get(self, email: str) -> Account | None:
        """Return the account, or None."""
        found = self.credentials(email)
        return None if found is None else found[0]

    @explained
    def credentials(self, email: str) -> tuple[Account, str] | None:
        """Return the account and the hash of its password as they are together, or None."""
        document = self._accounts.find_one({"_id": _id_from(email)})
        return None if document is None else (_account(document), document["password_hash"])

    @explained
    def all(self) -> list[Account]:
        """Return all accounts by e-mail address."""
        return sorted(map(_account, self._accounts.find()), key=lambda account: account.email)

    def set_password(self, email: str, password_hash: str) -> Account:
        """Replace the password and end all sessions of the account."""
        change = {"$set": {"password_hash": password_hash}, "$inc": {"epoch": 1}}
        return self._change(email, change)

    def set_role(self, email: str, role: Role) -> Account:
        """Give the account another role, which its sessions have within a second."""
        return self._change(email, {"$set": {"role": role}})

    def set_active(self, email: str, *, is_active: bool) -> Account:
        """Enable or disable the account; either ends all its sessions."""
        return self._change(email, {"$set": {"is_active": is_active}, "$inc": {"epoch": 1}})

    @explained
    def _change(self, email: str, change: Document) -> Account:
        document = self._accounts.find_one_and_update(
            {"_id": _id_from(email)}, change, return_document=ReturnDocument.AFTER
        )
        self._on_change()
        if document is None:
            raise _no_account(email)
        return _account(document)

    @explained
    def remove(self, email: str) -> None:
        """Remove the account; its sessions end."""
        removed = self._accounts.delete_one({"_id": _id_from(email)}).deleted_count
        self._on_change()
        if not removed:
            raise _no_account(email)


class MongoSessions:
    """`recgraph.ports.Sessions`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._sessions = _collection(connection, "sessions")
        self._accounts = _collection(connection, "accounts")
        self._remembered = Remembered(self._read)

    def forget_all(self) -> None:
        """Ask the store again for every session: accounts have changed."""
        self._remembered.forget()

    @explained
    def begin(self, account: Account | None) -> str:
        """Return the token of a new session; None is whoever owns this machine."""
        token, now = secrets.token_urlsafe(32), _now()
        session: Document = {"_id": digest_of(token), "expires_at": now + SESSION_LIFETIME}
        if account is not None:
            session |= {"email": account.email, "account": account.id, "epoch": account.epoch}
            signed_in = {"$set": {"last_signed_in_at": now}}
            self._accounts.update_one({"_id": account.email, "id": account.id}, signed_in)
        self._sessions.create_index("expires_at", expireAfterSeconds=0)
        self._sessions.insert_one(session)
        return token

    def principal(self, token: str) -> Principal | None:
        """Return who is signed in, as it was at most a second ago; None when it has ended."""
        return self._remembered.get(digest_of(token))

    @explained
    def _read(self, digest: str) -> Principal | None:
        session = self._sessions.find_one({"_id": digest})
        if session is None or session["expires_at"] <= _now():
            return None
        if "email" not in session:
            return principal_of_this_machine()
        this = {"_id": session["email"], "id": session["account"], "epoch": session["epoch"]}
        document = self._accounts.find_one(this)
        if document is None or not document["is_active"]:
            return None
        return principal_from_account(_account(document))

    def end(self, token: str) -> None:
        """End a session: at once in this process, within a second in others."""
        digest = digest_of(token)
        try:
            self._delete(digest)
        finally:  # here it has ended even if the store is away
            self._remembered.forget(digest)

    @explained
    def _delete(self, digest: str) -> None:
        self._sessions.delete_one({"_id": digest})


class MongoKeys:
    """`recgraph.ports.Keys`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._keys = _collection(connection, "keys")
        self._used = connection.database["keys"]
        self._remembered = Remembered(self._read)

    @explained
    def add(
        self, name: str, scopes: tuple[KeyScope, ...], expires_at: datetime | None
    ) -> tuple[ApiKey, str]:
        """Return a new key and its secret, which nobody can show again."""
        secret = new_key_secret()
        key = ApiKey(prefix_of(secret), name, scopes, _now(), expires_at)
        fields = msgspec.to_builtins(key, builtin_types=(datetime,))
        self._keys.insert_one({"_id": key.prefix, "digest": digest_of(secret), **fields})
        return key, secret

    def principal(self, secret: str) -> Principal | None:
        """Return whose key it is, as it was at most a second ago; None for one that is no good."""
        key = self._remembered.get(f"{prefix_of(secret)}:{digest_of(secret)}")
        return None if key is None or key.is_expired() else principal_from_key(key)

    @explained
    def _read(self, claim: str) -> ApiKey | None:
        prefix, _, digest = claim.rpartition(":")
        document = self._keys.find_one({"_id": {"$eq": prefix}}) if prefix.isascii() else None
        if document is None or not hmac.compare_digest(document["digest"], digest):
            return None
        key = msgspec.convert(document, ApiKey)
        self._note_use(key)
        return key

    def _note_use(self, key: ApiKey) -> None:
        now = _now()
        if key.last_used_at is None or now - key.last_used_at > _USED_EVERY:
            self._used.update_one({"_id": key.prefix}, {"$set": {"last_used_at": now}})

    @explained
    def all(self) -> list[ApiKey]:
        """Return all keys, newest first."""
        keys = [msgspec.convert(document, ApiKey) for document in self._keys.find()]
        return sorted(keys, key=lambda key: key.created_at, reverse=True)

    @explained
    def revoke(self, prefix: str) -> None:
        """Remove a key: at once in this process, within a second in others."""
        removed = self._keys.delete_one({"_id": {"$eq": prefix}}).deleted_count
        self._remembered.forget()
        if not removed:
            message = f"no key begins with {prefix[:40]!r}; `recgraph keys list` shows them."
            raise InputError(message)


def _collection(connection: Connection, name: str) -> Collection[Document]:
    return connection.database.get_collection(name, write_concern=_DURABLE)


def _id_from(email: str) -> str:
    # BSON cannot hold half a character, which a form can carry
    return fold_email(email).encode(errors="replace").decode()


def _account(document: Document) -> Account:
    return msgspec.convert(document, Account)


def _no_account(email: str) -> InputError:
    return InputError(f"{email!r} has no account; `recgraph users list` shows those there are.")


def _now() -> datetime:
    # BSON keeps milliseconds: what is returned is what will be read.
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
