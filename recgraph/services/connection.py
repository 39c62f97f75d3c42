"""A MongoDB URI -> a database whose errors are ours, each one line without a password."""

import functools
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


class Connection:
    """A database and the address it is at; safe to share between threads, not processes."""

    def __init__(self, client: MongoClient[Document], database: str, address: str) -> None:
        self._client = client
        self._address = address
        self.database: Database[Document] = client[database]

    def ping(self) -> None:
        """Return when the server answers."""
        with self.explaining():
            self._client.admin.command("ping")

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn an error of the client into ours, in one line without a password."""
        try:
            yield
        except ConnectionFailure as error:
            message = (
                f"MongoDB at {self._address} does not answer ({type(error).__name__}). Is it "
                "running? `recgraph services` shows the embedded one, `recgraph up` starts it."
            )
            raise StoreUnavailable(message) from error
        except OperationFailure as error:
            if error.code == _AUTHENTICATION_FAILED:
                message = f"MongoDB at {self._address} refuses the login of RECGRAPH_MONGO_URI."
                raise StoreUnavailable(message) from None
            message = f"MongoDB at {self._address} refuses: {error.details or error}"
            raise StoreError(message) from error
        except PyMongoError as error:
            message = f"MongoDB at {self._address}: {error}"
            raise StoreError(message) from error


@contextmanager
def open_connection(uri: str, database: str) -> Iterator[Connection]:
    """Give a connection to a server that answers; it is closed when the block ends.

    Raises
    ------
    ConfigError
        The URI is not one of MongoDB.
    StoreUnavailable
        The server does not answer, or refuses the login.
    """
    address = uri.rsplit("@", 1)[-1].split("://")[-1].split("/")[0].split("?")[0]
    with _open_client(uri) as client:
        connection = Connection(client, database, address)
        connection.ping()
        yield connection


def _open_client(uri: str) -> MongoClient[Document]:
    try:
        if not uri.startswith(_SCHEMES):  # the client would take it for a host
            raise InvalidURI
        return MongoClient(
            uri,
            tz_aware=True,
            tzinfo=UTC,
            serverSelectionTimeoutMS=_TIMEOUT_MS,
            connectTimeoutMS=_TIMEOUT_MS,
            socketTimeoutMS=_LONGEST_COMMAND_MS,
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
