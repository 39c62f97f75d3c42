"""A file of product attributes, or the Complete Journey package -> the catalogue.

The catalogue is one Parquet file of item_id, title, department, brand, category and image_url, all
text, and the price; an attribute that is not known is empty. A load adds its products to what is
there and replaces those it names again. Training joins it; nothing but titles and filters depends
on it.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from recgraph import metadata
from recgraph.columns import Columns as C
from recgraph.errors import InputError
from recgraph.files import read_rows
from recgraph.metadata import price_of
from recgraph.ports import Product
from recgraph.sources import COMPLETE_JOURNEY, complete_journey_file
from recgraph.titles import readable, readable_size

Row = Mapping[str, Any]

_TEXTS = (C.TITLE, C.DEPARTMENT, C.BRAND, C.CATEGORY)
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in (C.ITEM_ID, *_TEXTS)),
        (C.PRICE, pa.float64()),
        (C.IMAGE_URL, pa.string()),
    ]
)


class Loaded(msgspec.Struct, frozen=True):
    """What a load found; ``rows`` is the sum of the next three."""

    rows: int
    loaded: int
    """Products."""
    skipped: int
    """Rows without an id, or with one longer than an event's may be."""
    replaced: int
    """Rows whose product came again later: the last one counts."""
    products: int = 0
    """All products of the catalogue afterwards."""


def read_products(
    source: str, columns: Mapping[str, str], *, max_id_length: int
) -> tuple[dict[str, Product], Loaded]:
    """Return the products of a source by id, and how many of its rows they are.

    Parameters
    ----------
    source
        ``complete-journey``, or the path of a CSV, JSON Lines or Parquet file; the product files
        of the Amazon reviews are known, and need no columns.
    columns
        Field of `Product` -> column of the file.

    Raises
    ------
    InputError
        The source cannot be read or lacks a column, or none of its rows has an id.
    """
    if source == COMPLETE_JOURNEY:
        rows: Iterator[Row] = _complete_journey()
    elif ".json" in source and metadata.is_metadata(Path(source)):
        rows = metadata.read_metadata(Path(source))
    else:
        rows = read_rows(Path(source), columns)
    products, loaded = products_from_rows(rows, max_id_length=max_id_length)
    if not products:
        message = f"{source} has {loaded.rows:,} rows and no product in them; nothing is loaded."
        raise InputError(message)
    return products, loaded


def products_from_rows(
    rows: Iterable[Row], *, max_id_length: int
) -> tuple[dict[str, Product], Loaded]:
    """Return the products of rows with the fields of `Product`, the last one of each id."""
    products: dict[str, Product] = {}
    n_rows = n_skipped = 0
    for row in rows:
        n_rows += 1
        item_id = _text(row.get(C.ITEM_ID))
        if item_id is None or len(item_id) > max_id_length:
            n_skipped += 1
            continue
        texts = {name: _text(row.get(name)) for name in (*_TEXTS, C.IMAGE_URL)}
        products[item_id] = Product(item_id, price=price_of(row.get(C.PRICE)), **texts)
    n_replaced = n_rows - n_skipped - len(products)
    return products, Loaded(n_rows, len(products), n_skipped, n_replaced)


def _text(value: object) -> str | None:
    """Return a value as text; None when it is empty."""
    return None if value is None else str(value).strip() or None


def read_catalogue(path: Path) -> dict[str, Product]:
    """Return the products of a catalogue by id; none when there is no file yet."""
    try:
        rows = pq.read_table(path, schema=_SCHEMA).to_pylist() if path.exists() else []
    except (OSError, pa.ArrowException) as error:
        message = f"{path} cannot be read: {error}. Remove it and load the catalogue again."
        raise InputError(message) from error
    return {row[C.ITEM_ID]: Product(**row) for row in rows}


def write_catalogue(path: Path, products: Iterable[Product]) -> None:
    """Write a catalogue; the old one stays until the new one is complete.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    table = pa.Table.from_pylist([msgspec.to_builtins(each) for each in products], _SCHEMA)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, unfinished)
        unfinished.replace(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        message = f"{path} cannot be written: {reason}. The old catalogue, if any, is still there."
        raise InputError(message) from error
    finally:
        if unfinished.is_file():
            unfinished.unlink()


def _complete_journey() -> Iterator[Row]:
    """Give 92,331 grocery products with the shop's codes made readable."""
    columns = ["product_id", "department", "brand", "product_category", "product_type"]
    file = pq.ParquetFile(complete_journey_file("products"))
    for batch in file.iter_batches(columns=[*columns, "package_size"]):
        for row in batch.to_pylist():
            kind = readable(row["product_type"]) or readable(row["product_category"])
            parts = (kind or readable(row["department"]), readable_size(row["package_size"]))
            yield {
                C.ITEM_ID: row["product_id"],
                C.TITLE: ", ".join(part for part in parts if part),
                C.DEPARTMENT: readable(row["department"]),
                C.BRAND: row["brand"],
                C.CATEGORY: readable(row["product_category"]),
            }
