"""Texts as people wrote them -> clean texts to count words in, an array at a time.

In this order: a missing text is empty; markup goes (tags, the shop's own ``[[VIDEOID:...]]``), and
entities become what they stand for; Unicode is normalised (NFKC: wide letters, ligatures and dotted
numbers become the plain ones); URLs go; letters become small; apostrophes go, so that ``don't``
stays one word; all other punctuation and control characters become a space; spaces become one, and
none at the ends. Letters, digits and marks of every script stay, and so do symbols such as emoji,
which say how somebody feels. Nothing is translated, stemmed or left out for being frequent.
"""

import html

import pyarrow as pa
import pyarrow.compute as pc

_TAGS = r"(?s)<!--.*?-->|</?[A-Za-z][^<>]*>|\[\[[A-Z]+:[^\]]*\]\]"
_URLS = r"(?i)(?:https?://|www\.)[^\s<>]+"
_APOSTROPHES = "['\u2019]"
_NO_WORDS = r"[\pP\pC\p{Sm}\p{Sc}^`\s\pZ]+"
"""Punctuation, control characters, the signs of mathematics and of currencies, spaces."""


def clean_texts(texts: pa.Array) -> pa.Array:
    """The texts without markup, URLs and punctuation, in small letters; never null.

    Parameters
    ----------
    texts
        Of the type ``string``; a null is an empty text.
    """
    found = pc.fill_null(texts, "")
    found = pc.replace_substring_regex(found, _TAGS, " ")
    found = _without_entities(found)
    found = pc.utf8_normalize(found, "NFKC")
    found = pc.replace_substring_regex(found, _URLS, " ")
    found = pc.utf8_lower(found)
    found = pc.replace_substring_regex(found, _APOSTROPHES, "")
    found = pc.replace_substring_regex(found, _NO_WORDS, " ")
    return pc.utf8_trim_whitespace(found)


def _without_entities(texts: pa.Array) -> pa.Array:
    """The texts with ``&amp;`` as ``&``; only those that may have one are looked at."""
    has_one = pc.match_substring(texts, "&")
    if not pc.any(has_one).as_py():
        return texts
    plain = [html.unescape(text) for text in pc.filter(texts, has_one).to_pylist()]
    return pc.replace_with_mask(texts, has_one, pa.array(plain, texts.type))
