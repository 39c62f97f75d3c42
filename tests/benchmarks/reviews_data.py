"""Reviews with the shape of the Amazon data of 2018, for benchmarks: from a seed, of any size.

``python -m tests.benchmarks.reviews_data N_ROWS FILE`` writes them as that release does, a line a
review, compressed where the name ends in ``.gz``. Memory does not grow with the size: what a user
or a product is like is computed from its number.

- 233.1 million reviews, 43.53 million users, 15.17 million products (Ni, Li and McAuley 2019); at
  another size users and products shrink in proportion: 5.4 reviews a user and 15.4 a product.
- Popularity and activity fall as power laws (Zipf-Mandelbrot). Of 2 million rows about 45 % are of
  users and products with five or more in the end (the 5-core); of the release it is a third.
- Ratings are a mean, a bias of the user, one of the product, a taste and noise, rounded, and now
  and then a disappointment: 4.2 stars on average, most of them five, and something to learn.
- Lines have 550 bytes on average, as the release has; texts are words by Zipf's law, their lengths
  log-normal. Reviews become more with the years.
- Some lines come twice, and few are cut off: `REPEATED` and `CUT` of them.
"""

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from recgraph.dataset import Rows

N_REVIEWS, N_USERS, N_ITEMS = 233_100_000, 43_530_000, 15_170_000
REPEATED, CUT = 0.002, 0.0001

_BATCH = 20_000
_USER_TAIL, _ITEM_TAIL = (0.6, 20.0), (0.95, 20.0)
"""Exponent and offset of the power laws."""
_UNSEEN_USERS, _UNSEEN_ITEMS = 1.35, 1.1
"""Users and items there are, as a multiple of those that come up: some never do."""
_N_TASTES = 4
_MEAN, _USER_BIAS, _ITEM_BIAS, _TASTE, _NOISE = 4.85, 0.6, 0.5, 0.35, 1.0
_DISAPPOINTED = 0.06
"""So many reviews have one star, whatever was to be expected."""
_WORDS = 3_000
_MEAN_LOG_WORDS, _SIGMA_WORDS = 3.27, 1.05
_START, _SPAN = 9.0e8, 6.4e8
"""From the middle of 1998 to the end of 2018, in seconds since 1970."""

Numbers = NDArray[np.uint64]
Floats = NDArray[np.float64]


def write_reviews(path: Path, n_rows: int, *, seed: int = 1) -> None:
    """Write so many lines, those that come twice among them."""
    with gzip.open(path, "wb", 4) if path.suffix == ".gz" else path.open("wb") as file:
        for batch in batches(n_rows, seed=seed):
            file.write(b"\n".join(batch) + b"\n")


def batches(n_rows: int, *, seed: int = 1) -> Iterator[list[bytes]]:
    """The lines, some thousand at a time."""
    words = vocabulary(np.random.default_rng(seed))
    for number, first in enumerate(range(0, n_rows, _BATCH)):
        rng = np.random.default_rng([seed, number])
        yield _lines(rng, words, min(_BATCH, n_rows - first), n_rows)


def users_and_items(rng: np.random.Generator, n: int, n_rows: int) -> tuple[Numbers, Numbers]:
    """Whose reviews of what, in a data set of so many rows."""
    n_users = max(1, round(n_rows * _UNSEEN_USERS * N_USERS / N_REVIEWS))
    n_items = max(1, round(n_rows * _UNSEEN_ITEMS * N_ITEMS / N_REVIEWS))
    return _ranks(rng, n, n_users, *_USER_TAIL), _ranks(rng, n, n_items, *_ITEM_TAIL)


def ratings_of(rng: np.random.Generator, users: Numbers, items: Numbers) -> Floats:
    """Stars from 1 to 5."""
    taste = sum(_normal(users, 10 + k) * _normal(items, 20 + k) for k in range(_N_TASTES))
    biases = _USER_BIAS * _normal(users, 1) + _ITEM_BIAS * _normal(items, 2)
    noise = rng.normal(0, _NOISE, len(users))
    stars = np.clip(np.rint(_MEAN + biases + _TASTE * taste + noise), 1, 5)
    return np.where(rng.random(len(users)) < _DISAPPOINTED, 1.0, stars)


def make_ratings(n_ratings: int, *, seed: int) -> tuple[Rows, tuple[int, int]]:
    """So many ratings, and of how many users and items they are: those that come up."""
    rng = np.random.default_rng(seed)
    users, items = users_and_items(rng, n_ratings, n_ratings)
    stars = ratings_of(rng, users, items).astype(np.float32)
    sides = (np.unique(each, return_inverse=True) for each in (users, items))
    (users, rows), (items, columns) = sides
    found = Rows(rows.astype(np.int32), columns.astype(np.int32), stars, None)
    return found, (len(users), len(items))


def seconds_of(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Whole days, in seconds since 1970."""
    return (_START + _SPAN * rng.random(n) ** 0.3).astype(np.int64) // 86_400 * 86_400


def _lines(rng: np.random.Generator, words: NDArray, n: int, n_rows: int) -> list[bytes]:
    users, items = users_and_items(rng, n, n_rows)
    ratings = ratings_of(rng, users, items)
    seconds = seconds_of(rng, n)
    texts = texts_of(rng, words, n)
    votes = np.where(rng.random(n) < 0.12, rng.zipf(1.8, n).clip(max=5_000), 0)
    verified = rng.random(n) < 0.83
    rows = zip(users, items, ratings, seconds, texts, votes, verified, strict=True)
    lines = [msgspec.json.encode(_row(*row)) for row in rows]
    for place in np.flatnonzero(rng.random(n) < REPEATED):
        lines[place] = lines[place - 1]
    for place in np.flatnonzero(rng.random(n) < CUT):
        lines[place] = lines[place][: len(lines[place]) // 2]
    return lines


def _row(
    user: int, item: int, rating: float, seconds: int, text: str, votes: int, verified: bool
) -> dict[str, object]:
    day = np.datetime64(int(seconds), "s").astype(object)
    row = {
        "overall": float(rating),
        "verified": bool(verified),
        "reviewTime": f"{day:%m} {day.day}, {day:%Y}",
        "reviewerID": f"A{int(user):012X}",
        "asin": f"B{int(item):09X}",
        "style": {"Size:": " Large", "Color:": " Black"},
        "reviewerName": f"Customer {int(user) % 1000}",
        "reviewText": text,
        "summary": text[:30],
        "unixReviewTime": int(seconds),
    }
    return row | ({"vote": f"{votes:,}"} if votes else {})


def texts_of(rng: np.random.Generator, words: NDArray, n: int) -> list[str]:
    """Texts of words from a vocabulary."""
    lengths = rng.lognormal(_MEAN_LOG_WORDS, _SIGMA_WORDS, n).astype(int).clip(1, 2_000)
    chosen = words[_ranks(rng, int(lengths.sum()), len(words), 0.999, 2.0).astype(int)]
    ends = np.cumsum(lengths)
    return [
        " ".join(chosen[end - n_words : end]) for end, n_words in zip(ends, lengths, strict=True)
    ]


def vocabulary(rng: np.random.Generator) -> NDArray:
    """Words, the most frequent first."""
    letters = np.array(list("etaoinshrdlucmfwygpbvk"))
    lengths = rng.integers(2, 9, _WORDS)
    words = ["".join(rng.choice(letters, n)) for n in lengths]
    return np.array([*words[:-3], "great.", "<br />", "I&#39;m"], object)


def _ranks(rng: np.random.Generator, size: int, n: int, exponent: float, offset: float) -> Numbers:
    """Ranks from 0 to n - 1, the r-th about as likely as ``(r + offset) ** -exponent``."""
    power = 1 - exponent
    low, high = offset**power, (n + offset) ** power
    ranks = (low + rng.random(size) * (high - low)) ** (1 / power) - offset
    return ranks.astype(np.uint64).clip(max=n - 1)


def _normal(numbers: Numbers, salt: int) -> Floats:
    """About normal: a number of its own for each index and salt, always the same."""
    total = np.zeros(len(numbers))
    for part in range(4):
        mixed = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt * 8 + part)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        total += (mixed >> np.uint64(11)).astype(float) / 2**53
    return (total - 2) * 3**0.5


if __name__ == "__main__":
    write_reviews(Path(sys.argv[2]), int(sys.argv[1]))
