"""Lines and files of reviews as the public releases write them, for all tests of reviews."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"
FASHION = DATA / "AMAZON_FASHION_5.jsonl.gz"
GIFT_CARDS = DATA / "Gift_Cards_5.json.gz"
GIFT_CARDS_META = DATA / "meta_Gift_Cards.json.gz"


def need_amazon() -> None:
    """Skip the test where the Amazon files are not beside this checkout."""
    if not all(path.exists() for path in (FASHION, GIFT_CARDS, GIFT_CARDS_META)):
        pytest.skip("the Amazon files are not beside this checkout")


def line_2014(**changes: Any) -> dict[str, Any]:
    """A review as the release of 2014 has it."""
    line = {
        "reviewerID": "A2SUAM1J3GNN3B",
        "asin": "0000013714",
        "reviewerName": "J. McDonald",
        "helpful": [2, 3],
        "reviewText": "I bought this for my husband who plays the piano.",
        "overall": 5.0,
        "summary": "Heavenly Highway Hymns",
        "unixReviewTime": 1252800000,
        "reviewTime": "09 13, 2009",
    }
    return line | changes


def line_2018(**changes: Any) -> dict[str, Any]:
    """A review as the release of 2018 has it."""
    line = {
        "overall": 5.0,
        "vote": "1,234",
        "verified": True,
        "reviewTime": "01 1, 2018",
        "reviewerID": "AUI6WTTT0QZYS",
        "asin": "5120053084",
        "style": {"Size:": "Large", "Color:": "Charcoal"},
        "reviewerName": "Abbey",
        "reviewText": "I now have 4 of the 5 available colors of this shirt...",
        "summary": "Comfy, flattering, discreet--highly recommended!",
        "unixReviewTime": 1514764800,
    }
    return line | changes


def line_2023(**changes: Any) -> dict[str, Any]:
    """A review as the release of 2023 has it."""
    line = {
        "rating": 4.0,
        "title": "Works great",
        "text": "No pilling.<br />Warm &amp; soft.",
        "images": [{"small_image_url": "https://example.org/1.jpg"}],
        "asin": "B088SZDGXG",
        "parent_asin": "B08BBQ29N5",
        "user_id": "AEYORY2AVPMCPDV57CE337YU5LXA",
        "timestamp": 1634275259292,
        "helpful_vote": 3,
        "verified_purchase": False,
    }
    return line | changes


def encoded(line: dict[str, Any]) -> bytes:
    """A line as JSON."""
    return json.dumps(line).encode()


def write_lines(path: Path, lines: list[bytes]) -> Path:
    """A file of these lines, compressed where its name says so."""
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path
