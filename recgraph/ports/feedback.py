"""What is left out of lists because somebody said so."""

from datetime import datetime
from typing import Literal, Protocol

import msgspec

FeedbackKind = Literal["hidden", "not_interested"]


class FeedbackEntry(msgspec.Struct, frozen=True):
    """An item that is left out of lists because somebody said so."""

    kind: FeedbackKind
    item_id: str
    user_id: str | None
    """Whose lists; None for everybody's."""
    at: datetime


class Feedback(Protocol):
    """What people said about items; it holds over all generations, from the moment it is said.

    While the store is away, the last known feedback goes on being applied.
    """

    def add(self, kind: FeedbackKind, item_id: str, user_id: str | None) -> FeedbackEntry:
        """Return what is kept from now on, in place of an earlier word on the same item.

        Raises
        ------
        StoreUnavailable
            The server does not answer; nothing may have been kept.
        """
        ...

    def remove(self, item_id: str, user_id: str | None) -> bool:
        """Return whether there was something to take back; raises as `add` does."""
        ...

    def entries(self, user_id: str | None) -> list[FeedbackEntry]:
        """Return what was said for one user, or for everybody, newest first."""
        ...

    def excluded(self, user_id: str | None) -> frozenset[str]:
        """Return the items that stay out of a user's lists; of None, out of everybody's.

        Raises
        ------
        StoreUnavailable
            The server does not answer, and nothing is known from before.
        """
        ...
