"""Files -> blocks of whole lines, and what is said of files that cannot be read."""

import gzip
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgraph import lines
from recgraph.errors import InputError
from recgraph.lines import Block, read_blocks, split_lines

TEXT = b"".join(b"%d %s\n" % (number, b"x" * (number % 97)) for number in range(60_000))


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
@pytest.mark.parametrize("end", [b"", b"open end"])
def test_blocks_are_the_file_in_order(tmp_path: Path, name: str, end: bytes) -> None:
    path, text = tmp_path / name, TEXT + end
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    blocks = list(read_blocks(path, block_bytes=100_000))
    assert len(blocks) > 1
    assert b"".join(block.data for block in blocks) == text
    found = [line for block in blocks for line in split_lines(block.data)]
    assert found == text.splitlines()
    for block in blocks:
        assert split_lines(block.data)[0] == found[block.first_line - 1]
        assert split_lines(block.data)[-1] == found[block.last_line - 1]
    assert blocks[-1].end == len(text)
    assert blocks[-1].n_bytes_read == path.stat().st_size


@given(st.data())
def test_what_is_behind_a_place_is_found_with_blocks_of_any_size(data: st.DataObject) -> None:
    text = b"a\n\nccc\ndd\n" * 5 + b"e" * data.draw(st.integers(0, 1))
    ends = [place + 1 for place in range(len(text)) if text[place : place + 1] == b"\n"]
    place = data.draw(st.sampled_from([0, *ends, len(text)]))
    cuts = sorted(data.draw(st.sets(st.sampled_from(ends))) | {len(text)})
    line, found, numbers = 1, b"", []
    for start, end in zip([0, *cuts], cuts, strict=False):
        block = Block(text[start:end], line, end, 0)
        line = block.last_line + 1
        rest = block.behind(place)
        assert rest.last_line == block.last_line
        found += rest.data
        numbers += [rest.first_line] if rest.data else []
    assert found == text[place:]
    if numbers:
        assert numbers[0] == text[:place].count(b"\n") + 1


def test_a_gzip_of_several_members_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"a\n") + gzip.compress(b"b\n"))
    assert lines.read_head(path) == [b"a", b"b"]


def test_a_mark_of_utf8_and_empty_lines_are_no_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf{}\n\n{}\n")
    assert lines.read_head(path) == [b"{}", b"{}"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            gzip.compress(random.Random(1).randbytes(3_000_000), mtime=0)[:-5000],
            "interrupted download",
        ),
        (
            gzip.compress(TEXT, mtime=0)[:100] + b"\0" * 200 + gzip.compress(TEXT, mtime=0)[300:],
            "is damaged",
        ),
        (b"PK\x03\x04....", "is a ZIP archive"),
        ('{"a": 1}\n'.encode("utf-16"), "16 bits a letter"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "a.json.gz"
    path.write_bytes(data)
    with pytest.raises(InputError, match=said) as caught:
        list(read_blocks(path, block_bytes=10_000))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_what_is_whole_before_a_gzip_breaks_off_is_given(tmp_path: Path) -> None:
    path = tmp_path / "a.json.gz"
    text = b"".join(b'{"n": %d}\n' % number for number in range(5_000))
    path.write_bytes(gzip.compress(text, mtime=0)[:-3_000])
    blocks = read_blocks(path, block_bytes=10_000_000)
    first = next(blocks)
    assert first.data.endswith(b"\n")
    assert text.startswith(first.data)
    assert first.last_line > 1_000
    with pytest.raises(InputError, match="breaks off"):
        next(blocks)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="cannot be read: "):
            lines.file_digest(path)
        with pytest.raises(InputError, match="cannot be read: "):
            lines.read_head(path)


def test_a_line_without_end_is_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_MAX_LINE_BYTES", 100_000)
    path = tmp_path / "a.json"
    path.write_bytes(b"[" * 3_000_000)
    with pytest.raises(InputError, match="expected one object a line"):
        list(read_blocks(path, block_bytes=1000))
