"""A MongoDB URI -> a database whose errors are ours, each one line without a password."""

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any, Concatenate, ParamSpec, TypeVar

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)

from recgraph.config import PREFIX
from recgraph.errors import ConfigError, StoreError, StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")
Document = dict[str, Any]

_SCHEMES = ("mongodb://", "mongodb+srv://")
_TIMEOUT_MS = 5_000
_LONGEST_COMMAND_MS = 60_000
"""An index over millions of items takes its time."""
_AUTHENTICATION_FAILED = 18
_PAUSE_S = 1.0
"""After the server did not answer, it is left alone for so long; then one caller asks again."""


class Connection:
    """A database and the address it is at; safe to share between threads, not processes."""

    def __init__(self, client: MongoClient[Document], database: str, address: str) -> None:
        self._client = client
        self._address = address
        self._ask_again_at: float | None = None
        self._asking = threading.RLock()  # of one thread: an explained call may make others
        self.database: Database[Document] = client[database]

    def ping(self) -> None:
        """Return when the server answers."""
        with self.explaining():
            self._client.admin.command("ping")

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn an error of the client into ours, in one line without a password.

        While the server does not answer, one caller at a time waits to see whether it does again;
        the others are refused at once.
        """
        ask_again_at = self._ask_again_at
        if ask_again_at is None:
            with self._translating():
                yield
            return
        if time.monotonic() < ask_again_at or not self._asking.acquire(blocking=False):
            message = f"MongoDB at {self._address} did not answer a moment ago."
            raise StoreUnavailable(message)
        try:
            with self._translating():
                yield
        finally:
            self._asking.release()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
            self._ask_again_at = None
        except ConnectionFailure as error:
            raise self._gone(error) from error
        except OperationFailure as error:
            if error.code == _AUTHENTICATION_FAILED:
                message = f"MongoDB at {self._address} refuses the login of RECGRAPH_MONGO_URI."
                raise StoreUnavailable(message) from None
            message = f"MongoDB at {self._address} refuses: {error.details or error}"
            raise StoreError(message) from error
        except PyMongoError as error:
            message = f"MongoDB at {self._address}: {error}"
            raise StoreError(message) from error

    def _gone(self, error: PyMongoError) -> StoreUnavailable:
        self._ask_again_at = time.monotonic() + _PAUSE_S
        message = (
            f"MongoDB at {self._address} does not answer ({type(error).__name__}). Is it "
            "running? `recgraph services` shows the embedded one, `recgraph up` starts it."
        )
        return StoreUnavailable(message)


@contextmanager
def open_connection(
    uri: str, database: str, *, longest_s: float | None = None, is_up: bool = True
) -> Iterator[Connection]:
    """Give a connection to a server that answers; it is closed when the block ends.

    Parameters
    ----------
    longest_s
        Seconds that one command may take, with all that is tried again; unset, it may build an
        index over millions of items.
    is_up
        Ask at once whether it answers; else the first command finds out.

    Raises
    ------
    ConfigError
        The URI is not one of MongoDB.
    StoreUnavailable
        The server does not answer, or refuses the login.
    """
    address = uri.rsplit("@", 1)[-1].split("://")[-1].split("/")[0].split("?")[0]
    with _open_client(uri, longest_s) as client:
        connection = Connection(client, database, address)
        if is_up:
            connection.ping()
        yield connection


def _open_client(uri: str, longest_s: float | None) -> MongoClient[Document]:
    limits: dict[str, Any] = {"socketTimeoutMS": _LONGEST_COMMAND_MS}
    if longest_s is not None:
        limits = {"timeoutMS": round(longest_s * 1000)}
    try:
        if not uri.startswith(_SCHEMES):  # the client would take it for a host
            raise InvalidURI
        return MongoClient(
            uri,
            tz_aware=True,
            tzinfo=UTC,
            connectTimeoutMS=_TIMEOUT_MS,
            serverSelectionTimeoutMS=_TIMEOUT_MS,  # also of closing, which no other limit bounds
            **limits,
        )
    except (InvalidURI, ConfigurationError, ValueError):
        # Not a word of the client's message: it may quote a part of the password.
        message = (
            "this is no MongoDB URI; expected mongodb://[user:password@]host[:port], with special "
            "characters in the password written like %40."
        )
        raise ConfigError(PREFIX + "MONGO_URI", message) from None


def explained(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Return the method of an object with a ``connection`` with its client's errors as ours."""

    @functools.wraps(method)
    def with_our_errors(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.connection.explaining():
            return method(self, *args, **kwargs)

    return with_our_errors
