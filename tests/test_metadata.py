"""Product files as Amazon's pages left them -> rows of the catalogue."""

import json
from pathlib import Path
from typing import Any

import pytest

from recgraph.catalogue import read_catalogue, read_products, write_catalogue
from recgraph.metadata import is_metadata, price_of, row_of
from recgraph.ports import Product
from tests.review_files import (
    GIFT_CARDS_META,
    encoded,
    line_2018,
    need_amazon,
    write_lines,
)

OF_2014 = {
    "asin": "0000031852",
    "title": "Girls Ballet Tutu Zebra Hot Pink",
    "price": 3.17,
    "imUrl": "http://ecx.images.example/51fAmVkTbyL._SY300_.jpg",
    "related": {"also_bought": ["B00JHONN1S"]},
    "brand": "Coxlures",
    "categories": [["Sports & Outdoors", "Other Sports", "Dance"]],
}
OF_2018: dict[str, Any] = {
    "asin": "B001GXRQW0",
    "title": " Maggiano&#39;s\n Gift Card",
    "brand": "",
    "main_cat": '<img src="https://a.example/b.png" alt="AMAZON FASHION"/>',
    "category": ["Gift Cards", "Gift Cards", "No expiration, no fees.", "</span></span></span>"],
    "price": "$1,299.50",
    "imageURL": ["https://images.example/small.jpg"],
    "imageURLHighRes": ["https://images.example/large.jpg"],
    "also_buy": [],
}
OF_2023 = {
    "main_category": "All Beauty",
    "title": "Howard LC0008 Leather Conditioner",
    "price": None,
    "images": [{"thumb": "https://t.example/1", "large": "https://l.example/1", "hi_res": None}],
    "store": "Howard Products",
    "categories": [],
    "parent_asin": "B01CUPMQZE",
}


def test_products_of_each_release_are_read(tmp_path: Path) -> None:
    lines = [str(OF_2014).encode(), encoded(OF_2018), encoded(OF_2023), b"{", b"[]"]
    path = write_lines(tmp_path / "meta.json.gz", lines)
    products, loaded = read_products(str(path), {"item_id": "product_id"}, max_id_length=256)
    assert (loaded.rows, loaded.loaded, loaded.skipped) == (5, 3, 2)
    assert list(products.values()) == [
        Product(
            "0000031852",
            "Girls Ballet Tutu Zebra Hot Pink",
            "Sports & Outdoors",
            "Coxlures",
            "Other Sports",
            3.17,
            "https://ecx.images.example/51fAmVkTbyL._SY300_.jpg",
        ),
        Product(
            "B001GXRQW0",
            "Maggiano's Gift Card",
            "AMAZON FASHION",
            None,
            "Gift Cards",
            1299.5,
            "https://images.example/large.jpg",
        ),
        Product(
            "B01CUPMQZE",
            "Howard LC0008 Leather Conditioner",
            "All Beauty",
            "Howard Products",
            image_url="https://l.example/1",
        ),
    ]
    catalogue = tmp_path / "catalogue.parquet"
    write_catalogue(catalogue, products.values())
    assert read_catalogue(catalogue) == products


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("$12.99", 12.99),
        ("12.99", 12.99),
        ("$5.99 - $19.99", 5.99),
        ("$1,234", 1234.0),
        ("12,99", 12.99),
        (7, 7.0),
        ("", None),
        ("$0.00", None),
        (0, None),
        (float("nan"), None),
        (True, None),
        (None, None),
        (".a-box-inner{background-color:#fff}#aloh", None),
    ],
)
def test_a_price_is_a_number_or_nothing(price: object, expected: float | None) -> None:
    assert price_of(price) == expected


def test_what_a_page_left_behind_is_no_title() -> None:
    assert row_of(OF_2018 | {"title": "var aPageStart = (new Date()).getTime();"})["title"] is None
    assert row_of(OF_2018 | {"title": ["a"], "category": "x", "imageURL": "x"})["title"] is None


def test_reviews_and_plain_products_are_no_metadata(tmp_path: Path) -> None:
    plain = {"asin": "B01", "title": "A lamp"}
    for line in (line_2018(), plain):
        assert not is_metadata(write_lines(tmp_path / "x.jsonl", [encoded(line)]))
    assert is_metadata(write_lines(tmp_path / "m.json", [json.dumps(OF_2023).encode()]))


def test_the_gift_cards_are_read() -> None:
    need_amazon()
    products, loaded = read_products(str(GIFT_CARDS_META), {}, max_id_length=256)
    assert (loaded.rows, loaded.loaded, len(products)) == (1547, 1547, 1547)
    prices = [each.price for each in products.values() if each.price]
    assert (len(prices), min(prices) > 0, max(prices) <= 2000) == (358, True, True)
    assert products["B001BKEWF2"].department == "Grocery"
