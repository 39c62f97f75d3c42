"""What the graph knows: products, similar ones, a user's history, a neighbourhood."""

from flask import Response

from dashboards.api.answered import (
    GraphOut,
    HistoryOut,
    HistoryRow,
    ProductOut,
    SimilarOut,
    SimilarProduct,
)
from dashboards.api.answers import answer
from dashboards.api.asked import EgoQuery, PageQuery, SimilarQuery
from dashboards.api.asking import read_query
from dashboards.api.lists import next_page, unknown_product
from dashboards.api.parts import parts
from dashboards.api.routing import route
from dashboards.problems import ProblemError
from recgraph.graph import ego_network

TAG = "Products and users"


@route("GET", "/products/<id:product_id>", scope="read", tag=TAG, returns=ProductOut)
def product(product_id: str) -> Response:
    """A product and how it stands in the graph."""
    item = parts().store.items([product_id]).get(product_id)
    if item is None:
        raise unknown_product(product_id)
    return answer(
        ProductOut(
            product_id=item.item_id,
            title=item.title,
            department=item.department,
            brand=item.brand,
            category=item.category,
            buyers=item.bought_degree,
            in_lists=item.recommended_degree,
            pagerank=item.pagerank,
        )
    )


@route(
    "GET",
    "/products/<id:product_id>/similar",
    scope="read",
    tag=TAG,
    query=SimilarQuery,
    returns=SimilarOut,
)
def similar(product_id: str) -> Response:
    """Products that the same users buy, the nearest first, as the graph walk finds them."""
    query, here = read_query(SimilarQuery), parts()
    item = here.store.item(product_id)
    if item is None:
        raise unknown_product(product_id)
    hidden = here.feedback.excluded(None)
    rows = [
        SimilarProduct(row.item_id, row.weight, row.title)
        for row in item.similar
        if row.item_id not in hidden
    ]
    return answer(SimilarOut(product_id, here.store.current().manifest.id, rows[: query.k]))


@route(
    "GET",
    "/users/<id:user_id>/history",
    scope="read",
    tag=TAG,
    query=PageQuery,
    returns=HistoryOut,
)
def history(user_id: str) -> Response:
    """What a user bought, the strongest first; the strongest few hundred are listed."""
    query, here = read_query(PageQuery), parts()
    user = here.store.user(user_id)
    if user is None:
        detail = f"the current generation knows no user {user_id[:100]!r}."
        raise ProblemError(404, "unknown-user", detail)
    rows = [
        HistoryRow(row.item_id, row.rating, row.n_events, row.last_at, row.title, row.department)
        for row in user.bought[query.offset : query.offset + query.k]
    ]
    following = next_page(len(user.bought), query.offset, query.k)
    generation = here.store.current().manifest.id
    return answer(HistoryOut(user_id, generation, user.bought_degree, rows, following))


@route("GET", "/graph/ego", scope="read", tag="Graph", query=EgoQuery, returns=GraphOut)
def ego() -> Response:
    """The neighbourhood of a user or product: at most 300 vertices and 2,000 edges."""
    vertex, here = read_query(EgoQuery).vertex, parts()
    graph = ego_network(here.store, [vertex])
    if not len(graph):
        detail = f"the current generation knows no vertex {vertex[:100]!r}."
        raise ProblemError(404, "unknown-vertex", detail)
    vertices = [{"id": name, **data} for name, data in graph.nodes(data=True)]
    edges = [
        {"src": src, "dst": dst, "kind": kind, **data}
        for src, dst, kind, data in graph.edges(keys=True, data=True)
    ]
    return answer(GraphOut(here.store.current().manifest.id, vertices, edges))
