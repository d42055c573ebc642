"""The demo of written answers, `star-al demo --task text`: the numbers in sentences from BBC news, as a JSON list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from star_al.app.demo import Demo, Row, prepare_model

NUMBER = re.compile(r"\d[\d,]*\d(?:\.\d+)?|\d+(?:\.\d+)?")
"""A number as a text writes it: no comma at its end, as one that only follows it is not part of it."""

N_TEST = 60
N_POOL = 220

LONGEST = 160
"""Characters of a sentence, at most: training on longer ones takes longer."""

FEWEST_WORDS = 6
MOST_NUMBERS = 4

_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'£$0-9])")


def numbers_in(text: str) -> str:
    """Return the numbers in a text as a JSON list of strings, without commas in them."""
    return json.dumps([found.replace(",", "") for found in NUMBER.findall(text)])


def number_rows(articles: Sequence[Row]) -> list[Row]:
    """Return the first sentence with numbers of each article that has one, and the numbers."""
    rows: dict[str, Row] = {}
    for article in articles:
        sentence = next(_sentences(article["text"]), None)
        if sentence is not None:
            rows.setdefault(
                sentence, {"id": article["id"], "text": sentence, "numbers": numbers_in(sentence)}
            )
    return list(rows.values())


def _sentences(article: str) -> Iterator[str]:
    """Yield the sentences of an article's body that are fit for the demo."""
    for paragraph in article.splitlines()[1:]:
        for sentence in _BETWEEN_SENTENCES.split(paragraph.strip()):
            is_short = len(sentence) <= LONGEST and len(sentence.split()) >= FEWEST_WORDS
            if is_short and 1 <= len(NUMBER.findall(sentence)) <= MOST_NUMBERS:
                yield sentence


def _test_and_pool(articles: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    rows = number_rows(articles)
    return rows[:N_TEST], rows[N_TEST : N_TEST + N_POOL]


NUMBERS = Demo(
    kind="text",
    template="numbers.yaml",
    rows=_test_and_pool,
    about=(
        "The pool has 220 sentences of BBC news, the test 60. The model learns to write",
        "the numbers in a sentence as a JSON list. A simulated annotator answers.",
    ),
    models=lambda say: {"model.name": prepare_model(say)},
    needs="about 500 MB",
)
"""The demo of written answers."""
