"""Who may do what: accounts with roles, API keys with scopes, and the principal of a request.

A *role* is what a person is, a *scope* is what a route asks for. Nothing here reads or writes;
passwords are in `recgraph.passwords`, and MongoDB is behind `recgraph.ports.Accounts`.

==========  =====================================================================================
scope       what it opens
==========  =====================================================================================
`read`      recommendations, pages, what users bought
`write`     sale events, feedback such as a hidden product
`operate`   which generation is current
`admin`     everything
==========  =====================================================================================
"""

import hashlib
import ipaddress
import secrets
import unicodedata
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec

from recgraph.errors import InputError

Role = Literal["viewer", "operator", "admin"]
Scope = Literal["read", "write", "operate", "admin"]
KeyScope = Literal["read", "write", "admin"]

ROLES: tuple[Role, ...] = get_args(Role)
KEY_SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)
SCOPES_OF_ROLE: dict[Role, frozenset[Scope]] = {
    "viewer": frozenset({"read"}),
    "operator": frozenset({"read", "write", "operate"}),
    "admin": frozenset(get_args(Scope)),
}
"""What a person of each role may do."""
SCOPES_OF_KEY: dict[KeyScope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    # A till that sends sales need not read what people bought.
    "write": frozenset({"write"}),
    "admin": frozenset(get_args(Scope)),
}
"""What a program with a key of each scope may do; several scopes add up."""
THIS_MACHINE = "this machine"
"""Name of whoever came by a one-time link, which only the owner of the data folder can make."""

SESSION_LIFETIME = timedelta(days=14)
"""After so long whoever signed in has to sign in again."""

_KEY_MARK = "rg_"
_PREFIX_LENGTH = len(_KEY_MARK) + 8
_LONGEST_EMAIL = 254
_LONGEST_NAME = 100


class Principal(msgspec.Struct, frozen=True):
    """Who sent a request, and what they may do."""

    kind: Literal["account", "link", "key"]
    id: str
    """Never given twice: the account's id, or the key's prefix."""
    name: str
    """For people: an e-mail address, the name of a key, or `THIS_MACHINE`."""
    scopes: frozenset[Scope]
    role: Role | None = None
    """None for a key."""

    def may(self, scope: Scope) -> bool:
        """Return whether the principal holds the scope."""
        return scope in self.scopes


class Account(msgspec.Struct, frozen=True):
    """A person who may sign in."""

    id: str
    """Random: an account that is removed and added again is another one."""
    email: str
    """Case-folded; unique."""
    role: Role
    is_active: bool
    created_at: datetime
    epoch: int = 0
    """Raised by whatever ends the account's sessions; those of an earlier epoch have ended."""
    last_signed_in_at: datetime | None = None


class ApiKey(msgspec.Struct, frozen=True):
    """A program's key, without its secret."""

    prefix: str
    """Its first characters, by which it is listed and revoked."""
    name: str
    scopes: tuple[KeyScope, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute."""

    def is_expired(self) -> bool:
        """Return whether the key's time is over."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)


def principal_from_account(account: Account) -> Principal:
    """Return the principal that a signed-in person is."""
    scopes = SCOPES_OF_ROLE[account.role]
    return Principal("account", account.id, account.email, scopes, account.role)


def principal_from_key(key: ApiKey) -> Principal:
    """Return the principal that a program with this key is."""
    scopes = frozenset[Scope]().union(*(SCOPES_OF_KEY[scope] for scope in key.scopes))
    return Principal("key", key.prefix, key.name, scopes)


def principal_of_this_machine() -> Principal:
    """Return the principal that a one-time link makes: its owner may do everything already."""
    return Principal("link", THIS_MACHINE, THIS_MACHINE, SCOPES_OF_ROLE["admin"], "admin")


def fold_email(text: str) -> str:
    """Return how an e-mail address is compared and kept; any text will do."""
    return unicodedata.normalize("NFC", text.strip()[:_LONGEST_EMAIL]).casefold()


def network_of(address: str) -> str:
    """Return where an address is from; of IPv6 its /64, all of which one person may have.

    A port, which some proxies add, is left out; what is no address stands for itself.
    """
    for host_of in (str, _without_port):
        with suppress(ValueError):
            host = ipaddress.ip_address(host_of(address))
            bits = 64 if host.version == 6 else 32
            return str(ipaddress.ip_network((host.packed, bits), strict=False))
    return address


def _without_port(address: str) -> str:
    return urlsplit(f"//{address}").hostname or ""


def parse_email(text: str) -> str:
    """Return a well-formed e-mail address, folded.

    Raises
    ------
    InputError
        It is none.
    """
    # Imported here: only who adds an account needs it, and each command would wait for it.
    from email_validator import EmailNotValidError, validate_email

    try:
        # Not "deliverable": ann@shop.internal is a good name to sign in with.
        valid = validate_email(text.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        message = f"{text!r} is no e-mail address: {error} Expected one such as ann@example.com."
        raise InputError(message) from None
    return fold_email(valid.normalized)


def parse_role(text: str) -> Role:
    """Return a role by its name.

    Raises
    ------
    InputError
        There is no such role.
    """
    for role in ROLES:
        if role == text:
            return role
    message = f"found the role {text!r}; expected one of {', '.join(ROLES)}."
    raise InputError(message)


def parse_key_scopes(texts: list[str]) -> tuple[KeyScope, ...]:
    """Return the scopes of a key, without repeats, in their order.

    Raises
    ------
    InputError
        There is none, or one that no key can have.
    """
    unknown = sorted(set(texts) - set(KEY_SCOPES))
    if unknown or not texts:
        found = ", ".join(map(repr, unknown)) or "none"
        message = f"found the scope {found}; expected one or more of {', '.join(KEY_SCOPES)}."
        raise InputError(message)
    return tuple(scope for scope in KEY_SCOPES if scope in texts)


def parse_key_name(text: str) -> str:
    """Return the name of a key, one line that tells it from others.

    Raises
    ------
    InputError
        It is empty, too long, or cannot be printed.
    """
    name = text.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        message = (
            f"found the key name {text[:40]!r}; expected 1 to {_LONGEST_NAME} printable letters, "
            "such as `till 3`."
        )
        raise InputError(message)
    return name


def new_key_secret() -> str:
    """Return a new key of 256 random bits: mark, public prefix, secret."""
    return f"{_KEY_MARK}{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}"


def prefix_of(secret: str) -> str:
    """Return the public part of a key, any text's first characters."""
    return secret[:_PREFIX_LENGTH]


def digest_of(secret: str) -> str:
    """Return the SHA-256 that is kept in place of a random secret.

    A slow hash protects what people think up; 256 random bits need none.
    """
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
