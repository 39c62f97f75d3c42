"""Files -> rows: quoting, columns nobody asks for, and files that cannot be used."""

from pathlib import Path

import pytest

from recgraph.errors import InputError
from recgraph.files import read_batches, read_rows

FIELDS = {"user_id": "who", "product_id": "what"}


def rows_of(path: Path, text: str, fields: dict[str, str] = FIELDS) -> list[dict[str, object]]:
    path.write_text(text)
    return list(read_rows(path, fields))


def test_quoted_values_may_hold_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    text = '\ufeffwho,what\r\nu,"a, ""b""\nc"\r\n\r\nv,w\r\n'
    assert rows_of(tmp_path / "s.csv", text) == [
        {"user_id": "u", "product_id": 'a, "b"\nc'},
        {"user_id": "v", "product_id": "w"},
    ]


def test_columns_that_nobody_asks_for_may_hold_anything(tmp_path: Path) -> None:
    lines = [f"{number},u,p" for number in range(200_000)]
    rows = rows_of(tmp_path / "s.csv", "\n".join(["note,who,what", *lines, "C12,u,p"]))
    assert len(rows) == 200_001  # a reader that guesses types takes the note for a number


def test_one_column_may_be_two_fields(tmp_path: Path) -> None:
    fields = {"event_id": "who", "user_id": "who"}
    assert rows_of(tmp_path / "s.csv", "who\nu\n", fields) == [{"event_id": "u", "user_id": "u"}]


def test_batches_are_the_same_each_time(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("who,what\n" + "user,product\n" * 300_000)
    sizes = [[batch.num_rows for batch in read_batches(path, FIELDS)] for _ in range(2)]
    assert sizes[0] == sizes[1]
    assert len(sizes[0]) > 2
    assert sum(sizes[0]) == 300_000


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("twice.csv", b"who,what,who\nu,p,v\n", "several columns who; it has who, what, who"),
        ("latin.csv", "who,what\nü,é\n".encode("latin-1"), "invalid UTF8"),
        ("other.csv", b"PAR1\x15\x04\nPAR1", "no column who, what; it has 'PAR1\\x15\\x04'"),
        ("gzip.csv", b"\x1f\x8b\x08\x00" * 9, "not a readable csv file"),
        ("plain.csv.gz", b"who,what\nu,p\n", "incorrect header check"),
        ("array.json", b'[{"who": "u"}]', "not a readable json file"),
        ("text.parquet", b"who,what\nu,p\n", "not a readable parquet file"),
        ("open.csv", b'who,what\n"u,p\nv,q\n', "not a readable csv file"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        list(read_rows(path, FIELDS))
    assert says in str(raised.value)
    assert str(raised.value).isprintable()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").mkdir()
    with pytest.raises(InputError, match="is a directory"):
        list(read_rows(tmp_path / "sales.csv", FIELDS))
