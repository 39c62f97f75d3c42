"""What cleaning takes out of a text, and what it must leave."""

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgraph.text import clean_texts


def clean(text: str | None) -> str:
    found: str = clean_texts(pa.array([text], pa.string()))[0].as_py()
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ""),
        ("", ""),
        (" \t\n ", ""),
        ("Great PRODUCT!!", "great product"),
        ("Warm &amp; soft, I&#39;m happy&#34;", "warm soft im happy"),
        ('one<br />two<a href="x">three</a><!-- <b> -->four', "one two three four"),
        ("3 < 5 and I <3 it", "3 5 and i 3 it"),
        ("&lt;b&gt;", "b"),
        ("[[VIDEOID:3e4d5a]] See it [[ASIN:B000123 the lamp]]", "see it"),
        ("see http://a.example/b?c=d&e and WWW.Example.org/x.", "see and"),
        ("don't can\u2019t 'quoted' rock'n'roll", "dont cant quoted rocknroll"),
        ("\ufb01ne \uff37\uff49\uff44\uff45 \u2460 café", "fine wide 1 café"),
        ("Äpfel, ЁЛКА; 寿司。नमस्ते", "äpfel ёлка 寿司 नमस्ते"),
        ("love it 👍🏽 $5 + tax", "love it 👍🏽 5 tax"),
        ("a\u200bb\x00c\u00a0d", "a b c d"),
        ("well-made/sturdy...10.5in", "well made sturdy 10 5in"),
        ("e\u0301", "é"),
    ],
)
def test_a_text_is_cleaned(text: str | None, expected: str) -> None:
    assert clean(text) == expected


@given(st.lists(st.none() | st.text(max_size=60), max_size=20))
def test_every_text_has_a_clean_one_without_punctuation(texts: list[str | None]) -> None:
    texts = [None if text is None else text.encode(errors="ignore").decode() for text in texts]
    found = clean_texts(pa.array(texts, pa.string())).to_pylist()
    assert len(found) == len(texts)
    for text in found:
        assert text == " ".join(text.split())
        assert {letter for letter in text if unicodedata.category(letter)[0] in "PZ"} <= {" "}
        assert not any(unicodedata.category(letter) in ("Cc", "Sc") for letter in text)


def test_texts_of_a_batch_are_cleaned_one_by_one() -> None:
    texts = ["A & B", None, "C &amp; D", "<i>E</i>"]
    assert clean_texts(pa.array(texts)).to_pylist() == ["a b", "", "c d", "e"]
