"""What was found in some reviews, for tests of whatever shows it; agreement with a known kappa."""

from datetime import UTC, datetime

from recgraph.exploration import (
    LENGTHS,
    Exploration,
    OfLength,
    OfMonth,
    OfProduct,
    OfRating,
    Verified,
)
from tests.sample import NASTY_ITEMS, NASTY_TITLES

_PRODUCTS = [
    OfProduct(item_id, title, 100 - place, 4.2, [20, 10, 70 - place], [25, 5, 70 - place], price)
    for place, (item_id, title, price) in enumerate(
        zip(NASTY_ITEMS, NASTY_TITLES, [12.5, None, 3.0, None, 1e6, 0.99, 20.0, 7.0], strict=True)
    )
]

EXPLORATION = Exploration(
    made_at=datetime(2026, 1, 5, 12, tzinfo=UTC),
    n_reviews=400,
    n_users=321,
    n_items=8,
    first_at=datetime(2013, 5, 1, tzinfo=UTC),
    last_at=datetime(2015, 4, 30, tzinfo=UTC),
    ratings=[
        OfRating(r, n, 50.0 * r, 40.0 * r, 1 / r) for r, n in enumerate((60, 40, 50, 50, 200), 1)
    ],
    lengths=[OfLength(least, 60, 4.0, 0.5, 0.25) for least in LENGTHS],
    months=[
        OfMonth(f"{2013 + m // 12}-{1 + m % 12:02}", 10 + m, 4 + (m % 3) / 4) for m in range(4, 28)
    ],
    verified=[Verified("verified", 300, 4.3), Verified("not verified", 100, 3.9)],
    agreement=[[50, 25, 25], [25, 50, 25], [25, 25, 50]],
    n_without_text=100,
    length_rating=-0.12,
    length_votes=0.3,
    most_reviewed=_PRODUCTS,
    least_reviewed=_PRODUCTS[::-1],
)
