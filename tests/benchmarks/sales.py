"""Sales as shops have them, for benchmarks: made from a seed, of any size.

- Popularity falls as Zipf's law says: the r-th product of a taste sells about as 1 / r.
- Activity is log-normal: many customers buy little, a few very much.
- Customers have tastes, a few of many, and buy within them most of the time: so what is bought
  together is no chance, and a model has something to learn.
- The same product is bought again and again.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

_ITEMS_A_TASTE = 100
_TASTES_A_USER = 3
_SHARE_OF_TASTE = 0.8
"""Purchases within the user's own tastes; the others are of what is popular at all."""
_SIGMA = 1.0
"""Of the logarithm of a user's activity: the busiest 10 % make about 40 % of the purchases."""
_ZIPF_OFFSET = 3
"""The best seller sells a quarter as much as without it: no shop has one product only."""
_SECONDS = 365 * 86_400
_START = np.datetime64("2025-01-01", "us")


class Sales(NamedTuple):
    """One purchase an element: what was bought by whom, and when."""

    users: np.ndarray
    """0 to n_users - 1."""
    items: np.ndarray
    """0 to n_items - 1."""
    times: np.ndarray
    """datetime64, within a year."""


def make_sales(n_users: int, n_items: int, n_purchases: int, *, seed: int = 1) -> Sales:
    """Purchases with long tails and tastes; not every user or item need have one."""
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(0, _SIGMA, n_users)
    users = rng.choice(n_users, n_purchases, p=activity / activity.sum())
    n_tastes = max(1, n_items // _ITEMS_A_TASTE)
    own = rng.integers(0, n_tastes, (n_users, _TASTES_A_USER))
    tastes = own[users, rng.integers(0, _TASTES_A_USER, n_purchases)]
    anything = rng.random(n_purchases) > _SHARE_OF_TASTE
    tastes[anything] = rng.integers(0, n_tastes, int(anything.sum()))
    items = tastes + n_tastes * _zipf(rng, -(-n_items // n_tastes), n_purchases)
    items[items >= n_items] = tastes[items >= n_items]
    times = _START + rng.integers(0, _SECONDS, n_purchases).astype("timedelta64[s]")
    return Sales(users, items, times)


def _zipf(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    """Ranks from 0, the r-th about as likely as 1 / r."""
    weights = 1 / (np.arange(n) + _ZIPF_OFFSET)
    return np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(size)).clip(max=n - 1)


def table_of(sales: Sales) -> pa.Table:
    """The sales as an Arrow table: user_id, item_id, occurred_at (UTC)."""
    ids = {"user_id": ("u", sales.users), "item_id": ("i", sales.items)}
    columns = {
        name: pa.array(np.char.add(letter, numbers.astype("U")))
        for name, (letter, numbers) in ids.items()
    }
    times = pa.array(sales.times).cast(pa.timestamp("us", tz="UTC"))
    return pa.table(columns | {"occurred_at": times})
