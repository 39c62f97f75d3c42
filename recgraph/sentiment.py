"""Texts -> whether they speak well of something, by VADER: a lexicon and rules, for English.

It wants texts as people wrote them: capitals, exclamation marks and emoji count.
"""

import functools
from collections.abc import Iterable

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from recgraph.exploration import POSITIVE_TEXT, SENTIMENTS

_MAX_LETTERS = 5_000
"""Of a longer text the beginning counts: the time goes with the square of the length."""


def sentiments_of(texts: Iterable[str | None]) -> list[int | None]:
    """The place of each text's sentiment in `SENTIMENTS`; None of a text without words."""
    return [None if text is None or not text.strip() else _sentiment(text) for text in texts]


def _sentiment(text: str) -> int:
    compound = _analyzer().polarity_scores(text[:_MAX_LETTERS])["compound"]
    if compound >= POSITIVE_TEXT:
        return SENTIMENTS.index("positive")
    return SENTIMENTS.index("negative" if compound <= -POSITIVE_TEXT else "neutral")


@functools.cache
def _analyzer() -> SentimentIntensityAnalyzer:
    """Read from the package's files once in a process."""
    return SentimentIntensityAnalyzer()
