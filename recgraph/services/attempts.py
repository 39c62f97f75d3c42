"""Wrong sign-ins -> how long to wait, in MongoDB: one count for all processes of a server.

A document an account (by the hash of its address, whether it exists or not) and one an address of
the network. It goes by itself an hour after the last attempt, so that 10,000 attempts leave
nothing behind; an attempt that has to wait is not even written.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pymongo.collection import Collection
from pymongo.errors import DuplicateKeyError

from recgraph.accounts import digest_of, fold_email, network_of
from recgraph.services.connection import Connection, Document, explained

FORGET_AFTER = timedelta(hours=1)
"""A count begins anew when nobody has tried for so long."""
FIRST_WAIT_S = 2.0
"""Seconds to wait after the first wrong attempt that is too many; each further one doubles it."""
_TRIES = 3


class Limit(NamedTuple):
    """How many wrong attempts are free, and how long the wait becomes at most."""

    n_free: int
    max_wait_s: float

    def wait_s(self, n_wrong: int) -> float:
        """Return the seconds to wait after so many wrong attempts."""
        if n_wrong < self.n_free:
            return 0.0
        return min(FIRST_WAIT_S * 2.0 ** min(n_wrong - self.n_free, 30), self.max_wait_s)


ACCOUNT = Limit(n_free=5, max_wait_s=15 * 60)
"""An account: short enough that a stranger cannot lock its owner out for long."""
ADDRESS = Limit(n_free=20, max_wait_s=30 * 60)
"""An address: many people may share one."""


class MongoAttempts:
    """`recgraph.ports.Attempts`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._attempts: Collection[Document] = connection.database["attempts"]

    @explained
    def begin(self, email: str | None, address: str) -> float:
        """Return 0.0 when this attempt may be made, else the seconds to wait."""
        limits = _limits(email, address)
        waits = [self._wait_s(source) for source in limits]
        if any(waits):
            return max(waits)
        return max(self._count(source, limit) for source, limit in limits.items())

    @explained
    def succeed(self, email: str | None, address: str) -> None:
        """Take the attempt back; wrong ones before it no longer count against the account."""
        if email is not None:
            self._attempts.delete_one({"_id": _account(email)})
        # Only this one: an own account must not wash an address clean.
        change = {"$inc": {"n": -1}, "$set": {"until": _now()}}
        self._attempts.update_one({"_id": _address(address)}, change)

    def _wait_s(self, source: str) -> float:
        document = self._attempts.find_one({"_id": source})
        return 0.0 if document is None else max(0.0, _seconds_to(document["until"]))

    def _count(self, source: str, limit: Limit) -> float:
        """Return 0.0 when the attempt is counted, else the wait that another one has caused."""
        for _ in range(_TRIES):
            document = self._attempts.find_one({"_id": source})
            if document is not None and _seconds_to(document["until"]) > 0:
                return _seconds_to(document["until"])
            if self._replace(source, document, limit):
                return 0.0
        return FIRST_WAIT_S

    def _replace(self, source: str, seen: Document | None, limit: Limit) -> bool:
        """Return whether the count is one higher; not so when another attempt came between."""
        now = _now()
        if seen is None:
            self._attempts.create_index("forget_at", expireAfterSeconds=0)
        is_old = seen is None or seen["forget_at"] <= now
        n_wrong = 1 if is_old or seen is None else seen["n"] + 1
        after: Document = {
            "n": n_wrong,
            "until": now + timedelta(seconds=limit.wait_s(n_wrong)),
            "forget_at": now + FORGET_AFTER,
        }
        if seen is not None:
            as_seen = {"_id": source, "n": seen["n"], "forget_at": seen["forget_at"]}
            return self._attempts.update_one(as_seen, {"$set": after}).matched_count == 1
        try:
            self._attempts.insert_one({"_id": source, **after})
        except DuplicateKeyError:
            return False
        return True


def _limits(email: str | None, address: str) -> dict[str, Limit]:
    limits = {_address(address): ADDRESS}
    return limits if email is None else {**limits, _account(email): ACCOUNT}


def _account(email: str) -> str:
    return "account:" + digest_of(fold_email(email))


def _address(address: str) -> str:
    return f"address:{network_of(address)}"


def _seconds_to(moment: datetime) -> float:
    return (moment - _now()).total_seconds()


def _now() -> datetime:
    return datetime.now(UTC)
