"""The ways to part a file; `recgraph.split` does it. The command line names them without NumPy."""

from enum import StrEnum


class Split(StrEnum):
    """How a file is parted."""

    time = "time"
    """The last days of all users."""
    last_basket = "last-basket"
    """Each user's last moment."""
    users = "users"
    """Users in folds: the model never saw those it is asked about, and folds them in."""
    random = "random"
    """A share of each user's items."""
