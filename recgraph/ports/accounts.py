"""Who may come in: people, sessions, keys, and attempts to sign in."""

from datetime import datetime
from typing import Protocol

from recgraph.accounts import Account, ApiKey, KeyScope, Principal, Role


class People(Protocol):
    """The accounts; each e-mail address has one at most, however it is spelled.

    Every change is durable when the call returns, and raises `InputError` for an address that has
    no account. All raise `StoreUnavailable` when the server does not answer, as do the others here.
    """

    def add(self, email: str, role: Role, password_hash: str) -> Account:
        """Return a new account; `InputError` when there is one already."""
        ...

    def get(self, email: str) -> Account | None:
        """Return the account, or None."""
        ...

    def credentials(self, email: str) -> tuple[Account, str] | None:
        """Return the account and the hash of its password as they are together, or None."""
        ...

    def all(self) -> list[Account]:
        """Return all accounts by e-mail address."""
        ...

    def set_password(self, email: str, password_hash: str) -> Account:
        """Replace the password and end all sessions of the account."""
        ...

    def set_role(self, email: str, role: Role) -> Account:
        """Give the account another role, which its sessions have within a second."""
        ...

    def set_active(self, email: str, *, is_active: bool) -> Account:
        """Enable or disable the account; either ends all its sessions."""
        ...

    def remove(self, email: str) -> None:
        """Remove the account; its sessions end."""
        ...


class Sessions(Protocol):
    """Who is signed in: a random token each, of which only the hash is kept."""

    def begin(self, account: Account | None) -> str:
        """Return the token of a new session; None is whoever owns this machine.

        Ended from the start when the account has changed its password since it was read.
        """
        ...

    def principal(self, token: str) -> Principal | None:
        """Return who is signed in, as it was at most a second ago; None when it has ended."""
        ...

    def end(self, token: str) -> None:
        """End a session: at once in this process, within a second in others."""
        ...


class Keys(Protocol):
    """The keys of programs; of a secret only the hash is kept."""

    def add(
        self, name: str, scopes: tuple[KeyScope, ...], expires_at: datetime | None
    ) -> tuple[ApiKey, str]:
        """Return a new key and its secret, which nobody can show again."""
        ...

    def principal(self, secret: str) -> Principal | None:
        """Return whose key it is, as it was at most a second ago; None for one that is no good."""
        ...

    def all(self) -> list[ApiKey]:
        """Return all keys, newest first."""
        ...

    def revoke(self, prefix: str) -> None:
        """Remove a key: at once in this process, within a second in others."""
        ...


class Attempts(Protocol):
    """Counts wrong sign-ins of an account and of an address, over all processes of a server."""

    def begin(self, email: str | None, address: str) -> float:
        """Return 0.0 when this attempt may be made, else the seconds to wait.

        It counts as a wrong one until `succeed` is called, so that many at once gain nothing.
        """
        ...

    def succeed(self, email: str | None, address: str) -> None:
        """Take the attempt back; wrong ones before it no longer count against the account."""
        ...


class Accounts(Protocol):
    """Everything about who may do what."""

    @property
    def people(self) -> People:
        """The accounts."""
        ...

    @property
    def sessions(self) -> Sessions:
        """Who is signed in."""
        ...

    @property
    def keys(self) -> Keys:
        """The keys of programs."""
        ...

    @property
    def attempts(self) -> Attempts:
        """Wrong sign-ins."""
        ...

    def ping(self) -> None:
        """Return when the server answers."""
        ...
