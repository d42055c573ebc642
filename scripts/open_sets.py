"""The sets of the study of open answers: short tasks made from GSM8K and BBC news that a small model can learn.

Each row is a text and its answer: a string, or for *operations* a list of labels. Texts are distinct.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from star_al import rng
from star_al.app.demo import fetch_news
from star_al.app.demo_numbers import number_rows
from star_al.types import JsonValue

CALCULATION = re.compile(r"<<([^<>]*)=[^<>]*>>")
"""What GSM8K's answers compute, without the result."""

OPERATIONS = {"+": "addition", "-": "subtraction", "*": "multiplication", "/": "division"}

TWO_OPERANDS = re.compile(r"<<(\d{1,2})([-+*/])(\d{1,2})=(\d+(?:\.\d+)?)>>")

HEADLINE_WORDS = 40
"""Words of an article from which its headline is to be guessed."""

Row: TypeAlias = tuple[str, JsonValue]
"""A text and its answer."""


@dataclass(frozen=True)
class OpenSet:
    """How a set is made and used.

    Attributes:
        task: The ``task`` section of a campaign.
        make: Makes the rows from a folder that holds ``gsm8k/train.jsonl`` and ``gsm8k/test.jsonl``; a set made from
            BBC news downloads them.
        score: What the mean grade is called.
        pool: Texts in the pool.
        test: Texts in the test.
        counts: Labels at which a model is trained and measured; the first are those of the start.
    """

    task: Mapping[str, Any]
    make: Callable[[Path], list[Row]]
    score: str = "right %"
    pool: int = 200
    test: int = 100
    counts: tuple[int, ...] = (20, 40, 60)

    @property
    def is_written(self) -> bool:
        """True if the model writes its answers."""
        return bool(self.task["kind"] == "text")


def numbers(_: Path) -> list[Row]:
    """Sentences of BBC news, one of an article, and the numbers in them as a JSON list: those of the demo."""
    return [(row["text"], row["numbers"]) for row in number_rows(fetch_news(print))]


def calculations(folder: Path) -> list[Row]:
    """The different calculations with two whole numbers below 100 in GSM8K's answers, and their results."""
    return _distinct(
        (f"{one} {operation} {other}", result)
        for _, answer in _gsm8k(folder)
        for one, operation, other, result in TWO_OPERANDS.findall(answer)
    )


def headlines(_: Path) -> list[Row]:
    """The first words of BBC news below their headlines, and the headlines; one article for each of them."""
    articles: dict[str, str] = {}
    for row in fetch_news(print):
        headline, body = row["text"].split("\n", 1)
        articles.setdefault(headline.strip(), " ".join(body.split()[:HEADLINE_WORDS]))
    return _distinct((body, headline) for headline, body in articles.items())


def operations(folder: Path) -> list[Row]:
    """GSM8K's questions, and which operations their answers use."""
    return _distinct(
        (
            question,
            [name for sign, name in OPERATIONS.items() if sign in "".join(CALCULATION.findall(answer))],
        )
        for question, answer in _gsm8k(folder)
    )


SETS: Mapping[str, OpenSet] = {
    "numbers": OpenSet(
        {
            "kind": "text",
            "instruction": "List the numbers in the text as a JSON list.",
            "max_answer_tokens": 32,
        },
        numbers,
    ),
    "calc": OpenSet(
        {
            "kind": "text",
            "instruction": "Calculate. Answer with the number alone.",
            "answer": {"read_as": "number"},
            "max_answer_tokens": 8,
        },
        calculations,
    ),
    "headline": OpenSet(
        {
            "kind": "text",
            "instruction": "Write a headline for the news.",
            "metric": "rouge_l",
            "max_answer_tokens": 16,
        },
        headlines,
        score="ROUGE-L, %",
    ),
    "operations": OpenSet(
        {
            "kind": "multi_label",
            "labels": list(OPERATIONS.values()),
            "instruction": "Which operations does the solution need?",
        },
        operations,
        score="Jaccard index, %",
    ),
}
"""The sets by name."""


def draw(name: str, rows: Sequence[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Draw the rows of pool and test of a set."""
    sizes = SETS[name]
    order = rng.generator(seed, 0, f"study/open/{name}").permutation(len(rows))
    drawn = [rows[place] for place in order[: sizes.pool + sizes.test]]
    return drawn[sizes.test :], drawn[: sizes.test]


def _gsm8k(folder: Path) -> Iterator[tuple[str, str]]:
    for part in ("train", "test"):
        with (folder / "gsm8k" / f"{part}.jsonl").open(encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                yield row["question"], row["answer"]


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """The first row of each text."""
    found: dict[str, JsonValue] = {}
    for text, answer in rows:
        found.setdefault(text, answer)
    return list(found.items())
