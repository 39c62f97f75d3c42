"""Lists of recommendations: a user's, a basket's, a what-if's, and the popular one."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from flask import Response, request

from dashboards.api.answered import (
    BecauseOut,
    BoughtTogether,
    Recommendation,
    Recommendations,
    rows_out,
)
from dashboards.api.answers import answer
from dashboards.api.asked import MAX_K, Basket, BecauseQuery, ListQuery, PopularQuery, WhatIf
from dashboards.api.asking import read_body, read_query
from dashboards.api.known import Stored, ask_stored, read_generation, read_history, read_serving
from dashboards.api.parts import ApiParts, parts
from dashboards.api.routing import route
from dashboards.problems import ProblemError
from recgraph import ports
from recgraph.feedback import without
from recgraph.ports import ItemProfile, Recommended
from recgraph.serving import Serving, Wish

POPULAR = "popular"
TAG = "Recommendations"


@route(
    "GET",
    "/users/<id:user_id>/recommendations",
    scope="read",
    tag=TAG,
    query=ListQuery,
    returns=Recommendations,
)
def recommendations(user_id: str) -> Response:
    """A user's list.

    Without parameters it is the list that the store holds. An unknown user gets the popular list,
    with `is_known` false. While the store is away, the last known list is served, with `is_stale`.
    """
    query, here = read_query(ListQuery), parts()
    stored, is_stale = ask_stored(here, user_id)
    excluded = here.feedback.excluded(user_id)
    k, found = query.k or stored.k, stored.found
    if found is None:
        rows = _popular(here, stored.generation, query.offset + k, query.department, excluded)
    else:
        rows = _rows(here, found, stored, query, excluded)
    return answer(
        Recommendations(
            generation=stored.generation,
            source=_source_of(rows),
            items=_page(rows, query.offset, k),
            user_id=user_id,
            is_known=found is not None,
            is_stale=is_stale,
            freshness=None if found is None else found.freshness,
            next=next_page(len(rows), query.offset, k),
        )
    )


@route(
    "POST",
    "/baskets/recommendations",
    scope="read",
    tag=TAG,
    body=Basket,
    returns=Recommendations,
)
def basket() -> Response:
    """The list of somebody unknown who has chosen some products; nothing is kept.

    While the store is away it is made all the same, with `is_stale`: from the generation and the
    feedback known last. A generation that predicts ratings answers 409: a purchase is none.
    """
    asked, here = read_body(Basket), parts()
    wish = Wish(asked.k, asked.exclude_seen, here.feedback.excluded(None), asked.department)
    serving, is_stale = read_serving(here)
    _require_purchases(serving)
    chosen = dict.fromkeys(asked.product_ids)
    found = serving.basket(chosen, wish)
    unknown = [each for each in found.ignored if each in chosen]
    said = {"is_known": len(unknown) < len(chosen), "is_stale": is_stale}
    return _computed(serving, found.rows, unknown_products=unknown, **said)


@route(
    "POST",
    "/users/<id:user_id>/what-if",
    scope="read",
    tag=TAG,
    body=WhatIf,
    returns=Recommendations,
)
def what_if(user_id: str) -> Response:
    """A user's list after purchases that were not made, without what is out of stock.

    Nothing is kept. While the store is away it is made all the same, with `is_stale`: without
    purchases and feedback that are not known. A generation that predicts ratings knows what is out
    of stock, and answers purchases with 409.
    """
    asked, here = read_body(WhatIf), parts()
    hidden = here.feedback.excluded(user_id).union(asked.out_of_stock)
    wish = Wish(asked.k, asked.exclude_seen, hidden, asked.department)
    serving, _ = read_serving(here)
    bought = [purchase.product_id for purchase in asked.purchases]
    if bought:
        _require_purchases(serving)
    history, is_stale = read_history(here, serving, user_id)
    found = serving.what_if(history, bought, wish)
    named = {*bought, *asked.out_of_stock}
    unknown = [each for each in dict.fromkeys(found.ignored) if each in named]
    is_known = bool(len(history)) or len(set(bought) - set(unknown)) > 0
    said = {"user_id": user_id, "is_known": is_known, "is_stale": is_stale}
    return _computed(serving, found.rows, unknown_products=unknown, **said)


@route(
    "GET",
    "/users/<id:user_id>/because",
    scope="read",
    tag=TAG,
    query=BecauseQuery,
    returns=BecauseOut,
)
def because(user_id: str) -> Response:
    """Why a product is recommended to a user.

    The user's own products that add most to its score, each with how many other users bought both:
    user -> bought product -> other buyers -> recommended product. A generation that predicts
    ratings answers 409: it has no such shares.
    """
    product_id, here = read_query(BecauseQuery).product_id, parts()
    serving, _ = read_serving(here)
    _require_purchases(serving)
    if product_id not in serving.items.index_of:
        raise unknown_product(product_id)
    history, is_stale = read_history(here, serving, user_id)
    if not len(history):
        detail = "the generation knows no purchase of this user: there is nothing to explain by."
        raise ProblemError(404, "unknown-user", detail)
    rows = [
        BoughtTogether(row.item_id, row.share, row.n_buyers, row.title, row.department)
        for row in serving.because(history, product_id)
    ]
    return answer(BecauseOut(user_id, product_id, serving.manifest.id, rows, is_stale))


@route(
    "GET",
    "/popular",
    scope="read",
    tag=TAG,
    query=PopularQuery,
    returns=Recommendations,
)
def popular() -> Response:
    """What most users bought, as a list; the score is the number of buyers."""
    query, here = read_query(PopularQuery), parts()
    generation, is_stale = read_generation(here)
    excluded = here.feedback.excluded(None)
    rows = _popular(here, generation, query.offset + query.k, query.department, excluded)
    items = _page(rows, query.offset, query.k)
    following = next_page(len(rows), query.offset, query.k)
    return answer(Recommendations(generation, POPULAR, items, is_stale=is_stale, next=following))


def _rows(
    here: ApiParts,
    found: ports.Recommendations,
    stored: Stored,
    query: ListQuery,
    excluded: frozenset[str],
) -> list[Recommended]:
    """Return the stored rows if they are all that is asked for, else rows computed now."""
    rows = without(found.rows, excluded)
    n_asked = query.offset + (query.k or stored.k)
    is_as_stored = query.exclude_seen in (None, stored.excludes_seen) and not query.department
    if is_as_stored and n_asked <= len(rows):
        return rows
    serving = here.serving()
    if serving is None or serving.manifest.id != stored.generation:
        wanted = query.department
        return [row for row in rows if wanted is None or row.department == wanted]
    wish = Wish(n_asked, query.exclude_seen, excluded, query.department)
    return serving.recommend(serving.history(found.user_id, found.events), wish).rows


def _popular(
    here: ApiParts, generation: str, n_rows: int, department: str | None, excluded: frozenset[str]
) -> list[Recommended]:
    """Return the popular rows, at least as many as asked for where there are so many."""
    n_read = n_rows + len(excluded)
    key = generation, n_read, department
    with here.lock:
        rows = here.popular.get(key)
    if rows is None:
        rows = _read_popular(here, generation, n_read, department)
        with here.lock:
            here.popular[key] = rows
    return without(rows, excluded)


def _read_popular(
    here: ApiParts, generation: str, n_rows: int, department: str | None
) -> list[Recommended]:
    return [
        Recommended(
            item_id=item.item_id,
            rank=rank,
            score=float(item.bought_degree),
            parts={POPULAR: float(item.bought_degree)},
            source=POPULAR,
            title=item.title,
            department=item.department,
        )
        for rank, item in enumerate(_popular_items(here, generation, n_rows, department), start=1)
    ]


def _popular_items(
    here: ApiParts, generation: str, n_rows: int, department: str | None
) -> list[ItemProfile]:
    """Return the popular items; of a department all that there are only where the model is."""
    serving = None if department is None else here.serving()
    # What is rated best is another order than that of the buyers.
    if serving is not None and serving.predicts_ratings:
        serving = None
    if serving is not None and serving.manifest.id == generation:
        rows = serving.basket([], Wish(n_rows, department=department)).rows
        return list(here.store.items(row.item_id for row in rows).values())
    items = here.store.popular(n_rows if department is None else MAX_K)
    return [item for item in items if department is None or item.department == department][:n_rows]


def _require_purchases(serving: Serving) -> None:
    """Return where the generation learned from purchases.

    Raises
    ------
    ProblemError
        It learned from ratings.
    """
    if serving.predicts_ratings:
        detail = (
            f"generation {serving.manifest.id} predicts ratings: a purchase without a rating "
            "changes no list, and a predicted rating has no shares of single products. Send a "
            "rating as an event, or make a generation current that was trained on purchases."
        )
        raise ProblemError(409, "predicts-ratings", detail)


def _computed(serving: Serving, rows: list[Recommended], **said: Any) -> Response:
    items = _page(rows, 0, len(rows))
    return answer(Recommendations(serving.manifest.id, _source_of(rows), items, **said))


def _page(rows: Sequence[Recommended], offset: int, k: int) -> list[Recommendation]:
    return rows_out(rows[offset : offset + k])


def _source_of(rows: Sequence[Recommended]) -> str:
    return rows[0].source if rows else "none"


def next_page(n_rows: int, offset: int, k: int) -> str | None:
    """Return the address of the next rows, None when this page is not full."""
    if n_rows < offset + k:
        return None
    following = {"k": str(k), "offset": str(offset + k)}
    return f"{quote(request.path)}?{urlencode(request.args.to_dict() | following)}"


def unknown_product(product_id: str) -> ProblemError:
    """Return the problem of a product that the current generation does not know."""
    detail = f"the current generation knows no product {product_id[:100]!r}."
    return ProblemError(404, "unknown-product", detail)
