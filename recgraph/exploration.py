"""What all reviews say, as one small document: made in Spark, shown on the page Reviews."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from recgraph.errors import InputError
from recgraph.whole import write_whole

Sentiment = Literal["negative", "neutral", "positive"]
SENTIMENTS: tuple[Sentiment, ...] = ("negative", "neutral", "positive")
"""In the order in which lists of them count."""

POSITIVE_RATING = 4.0
"""A rating from here on is positive."""
NEGATIVE_RATING = 2.0
"""A rating up to here is negative; between the two it is neutral."""
POSITIVE_TEXT = 0.05
"""VADER's own bounds: a compound score from here on is positive, from its opposite down negative.

References
----------
Hutto and Gilbert (2014), VADER: a parsimonious rule-based model for sentiment analysis.
"""
LENGTHS = (0, 50, 100, 200, 500, 1000, 2000)
"""The least number of characters of each class of lengths."""
N_PRODUCTS = 10
"""Products with most, and with fewest, reviews."""


class OfRating(msgspec.Struct, frozen=True):
    """The reviews with one rating, to whole stars."""

    rating: int
    n_reviews: int
    mean_length: float
    """Characters."""
    median_length: float
    mean_votes: float
    """Votes for being helpful; a review without any has 0."""


class OfLength(msgspec.Struct, frozen=True):
    """The reviews of so many characters."""

    least: int
    n_reviews: int
    mean_rating: float
    mean_votes: float
    helpful_share: float
    """Share with at least one vote."""


class OfMonth(msgspec.Struct, frozen=True):
    """The reviews of one month, in UTC."""

    month: str
    """Such as ``2015-03``."""
    n_reviews: int
    mean_rating: float


class OfProduct(msgspec.Struct, frozen=True):
    """A product with what is said of it."""

    item_id: str
    title: str | None
    n_reviews: int
    mean_rating: float
    by_rating: list[int]
    """Reviews by sentiment of the rating, in the order of `SENTIMENTS`."""
    by_text: list[int]
    """Reviews by sentiment of the text; those whose text was not scored are not in it."""
    price: float | None

    @property
    def turnover(self) -> float | None:
        """An estimate: price times reviews. Not every buyer writes one, and prices change."""
        return None if self.price is None else self.price * self.n_reviews


class Verified(msgspec.Struct, frozen=True):
    """The reviews by whether the shop knows of the purchase."""

    state: Literal["verified", "not verified", "unknown"]
    n_reviews: int
    mean_rating: float


class Exploration(msgspec.Struct, frozen=True):
    """What all reviews together say."""

    made_at: datetime
    n_reviews: int
    n_users: int
    """To within about 2 %."""
    n_items: int
    first_at: datetime
    last_at: datetime
    ratings: list[OfRating]
    lengths: list[OfLength]
    months: list[OfMonth]
    verified: list[Verified]
    agreement: list[list[int]]
    """Reviews by sentiment of the rating (rows) and of the text (columns), those scored."""
    n_without_text: int
    length_rating: float | None
    """Correlation of the logarithm of the length with the rating; None where one is constant."""
    length_votes: float | None
    """Correlation of the logarithms of length and votes."""
    most_reviewed: list[OfProduct]
    least_reviewed: list[OfProduct]
    """Among equals the first by id."""

    @property
    def mean_rating(self) -> float:
        """Over all reviews, to whole stars."""
        return sum(row.rating * row.n_reviews for row in self.ratings) / self.n_reviews

    @property
    def n_scored(self) -> int:
        """Reviews whose text was scored."""
        return sum(map(sum, self.agreement))

    @property
    def agreed(self) -> float | None:
        """Share of the scored reviews whose text says what the rating says."""
        n = self.n_scored
        return sum(self.agreement[each][each] for each in range(3)) / n if n else None

    @property
    def kappa(self) -> float | None:
        """`kappa_of` the agreement."""
        return kappa_of(self.agreement)


def kappa_of(table: Sequence[Sequence[int]]) -> float | None:
    """Agreement of two judges beyond chance: 1 in all, 0 as by chance; None where chance is all.

    References
    ----------
    Cohen (1960), A coefficient of agreement for nominal scales.
    """
    n = sum(map(sum, table))
    if not n:
        return None
    observed = sum(row[place] for place, row in enumerate(table)) / n
    columns = map(sum, zip(*table, strict=True))
    expected = sum(sum(row) * column for row, column in zip(table, columns, strict=True)) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def write_exploration(path: Path, found: Exploration) -> None:
    """Write the file whole, or not at all."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(found), indent=1))


def read_exploration(path: Path) -> Exploration | None:
    """What was found last; None before anybody looked.

    Raises
    ------
    InputError
        The file is of another version of recgraph, or damaged.
    """
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Exploration)
    except msgspec.MsgspecError as error:
        message = f"{path} cannot be read: {error}. Make it again: `recgraph reviews explore`."
        raise InputError(message) from None
