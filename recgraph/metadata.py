"""Lines of the Amazon product files of 2014, 2018 and 2023 -> rows of the catalogue.

What their pages left behind goes: entities, tags, prices that are style sheets, titles that are
scripts. A line that is no object with an ``asin`` gives a row without an id, which a load counts
as skipped.
"""

import ast
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recgraph import lines
from recgraph.columns import Columns as C

Row = dict[str, Any]

_BLOCK_BYTES = 4 * 1024 * 1024
_MARKS = {"imUrl", "imageURL", "main_cat", "main_category", "categories", "also_buy", "related"}
"""Fields that only product files of Amazon have beside ``asin``."""
_TAG = re.compile(r"<[^>]*>")
_ALT = re.compile(r'alt="([^"]*)"')
_PRICE = re.compile(r"\$?\s*(\d[\d,]*(?:\.\d+)?)")
_SCRIPT = "var aPageStart"
"""How the title begins of a page that was not read but run."""


def is_metadata(path: Path) -> bool:
    """Whether a file holds products as Amazon's files do.

    Raises
    ------
    InputError
        It cannot be read.
    """
    head = lines.read_head(path)
    found = _object(head[0]) if head else None
    return found is not None and "asin" in found | _parent(found) and bool(_MARKS & found.keys())


def read_metadata(path: Path) -> Iterator[Row]:
    """The products of a file, a row a line, by the fields of `recgraph.ports.Product`.

    Raises
    ------
    InputError
        The file cannot be read to its end.
    """
    for block in lines.read_blocks(path, block_bytes=_BLOCK_BYTES):
        for line in lines.split_lines(block.data):
            found = _object(line)
            yield {} if found is None else row_of(found)


def row_of(found: Row) -> Row:
    """The row of one product; what is not there is None."""
    categories = _categories(found)
    main = found.get("main_cat") or found.get("main_category") or next(iter(categories), None)
    return {
        C.ITEM_ID: found.get("parent_asin") or found.get("asin"),
        C.TITLE: _title(found.get("title")),
        C.DEPARTMENT: _plain(main),
        C.BRAND: _plain(found.get("brand") or found.get("store")),
        C.CATEGORY: _plain(categories[1] if len(categories) > 1 else None),
        C.PRICE: price_of(found.get("price")),
        C.IMAGE_URL: _image(found),
    }


def price_of(value: object) -> float | None:
    """The price in dollars: of ``$12.99 - $20.00`` the lower one; None for what is no price."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if 0 < value < float("inf") else None
    match = _PRICE.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    number = re.sub(r",(\d\d)$", r".\1", match[1])  # a comma before two last digits is no thousand
    return float(number.replace(",", "")) or None


def _object(line: bytes) -> Row | None:
    """The object of a line, JSON or a Python dict; None for anything else."""
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(line.decode())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return found if isinstance(found, dict) else None
    return None


def _parent(found: Row) -> Row:
    return {"asin": found["parent_asin"]} if "parent_asin" in found else {}


def _plain(value: object) -> str | None:
    """The text without entities and tags; of a picture what it shows."""
    if not isinstance(value, str):
        return None
    picture = _ALT.search(value)
    text = picture[1] if picture else _TAG.sub(" ", value)
    return " ".join(html.unescape(text).split()) or None


def _title(value: object) -> str | None:
    text = _plain(value)
    return None if text is None or text.startswith(_SCRIPT) else text


def _categories(found: Row) -> list[str]:
    """The path of the product, of 2014 the first of several; the rest of it are often sentences."""
    path = found.get("category") or found.get("categories") or []
    if isinstance(path, list) and path and isinstance(path[0], list):
        path = path[0]
    return [each for each in path if isinstance(each, str)] if isinstance(path, list) else []


def _image(found: Row) -> str | None:
    """The largest picture that is named, only over HTTPS."""
    named = [found.get(name) for name in ("imageURLHighRes", "imageURL", "images", "imUrl")]
    for each in named:
        first = each[0] if isinstance(each, list) and each else each
        if isinstance(first, dict):
            first = first.get("hi_res") or first.get("large")
        if isinstance(first, str) and first.startswith(("https://", "http://")):
            return first.replace("http://", "https://", 1)
    return None
