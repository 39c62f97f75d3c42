"""The generator of sales: long tails, tastes that can be learnt, the same from the same seed."""

import numpy as np
from scipy import sparse

from recgraph import metrics, walk
from recgraph.model import Ragged, mask, top_k
from tests.benchmarks.sales import make_sales, table_of

N_USERS, N_ITEMS, N_PURCHASES = 600, 1000, 30_000
SALES = make_sales(N_USERS, N_ITEMS, N_PURCHASES)


def test_it_is_as_large_as_asked_and_the_same_again() -> None:
    table = table_of(SALES)
    assert table.num_rows == N_PURCHASES
    assert SALES.users.max() < N_USERS
    assert SALES.items.max() < N_ITEMS
    assert table == table_of(make_sales(N_USERS, N_ITEMS, N_PURCHASES))
    assert table != table_of(make_sales(N_USERS, N_ITEMS, N_PURCHASES, seed=2))


def test_both_sides_have_long_tails() -> None:
    for side, low, high in ((SALES.users, 0.3, 0.5), (SALES.items, 0.35, 0.6)):
        counts = np.sort(np.bincount(side))[::-1]
        busiest = counts[: len(counts) // 10].sum() / counts.sum()
        assert low < busiest < high


def test_what_is_bought_together_can_be_learnt() -> None:
    is_test = np.random.default_rng(3).random(N_PURCHASES) < 0.2
    train, test = (
        sparse.csr_matrix(
            (np.ones(len(users), np.float32), (users, items)), shape=(N_USERS, N_ITEMS)
        )
        for users, items in (
            (SALES.users[chosen], SALES.items[chosen]) for chosen in (~is_test, is_test)
        )
    )
    first = train.log1p()
    neighbours = walk.item_neighbours(walk.item_steps(first), 50)
    steps = walk.user_steps(first, np.asarray(first.sum(axis=0)).ravel())
    popular = np.tile(np.asarray((train > 0).sum(axis=0), np.float32), (N_USERS, 1))
    seen, new = Ragged.of(train), (test - test.multiply(train > 0)).tocsr()
    new.eliminate_zeros()
    found = [_ndcg(mask(scores, seen), new) for scores in ((steps @ neighbours).toarray(), popular)]
    assert found[0] > 2 * found[1] > 0


def _ndcg(scores: np.ndarray, test: sparse.csr_matrix) -> float:
    n_relevant = np.diff(test.indptr)
    hit = metrics.hits(top_k(scores, 10).items, Ragged.of(test), n_items=scores.shape[1])
    asked = n_relevant > 0
    return float(metrics.ranking_by_user(hit[asked], n_relevant[asked]).ndcg.mean())
