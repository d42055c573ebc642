"""The sets of the study of open answers: short tasks made from GSM8K and BBC news that a small model can learn.

Each row is a text and its answer: a string, or for *operations* a list of labels. Texts are distinct.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_al import rng
from star_al.app.demo import fetch_news
from star_al.types import JsonValue

NUMBER = re.compile(r"\d[\d,]*\d(?:\.\d+)?|\d+(?:\.\d+)?")
"""A number as a text writes it: no comma at its end, as one that only follows it is not part of it."""

CALCULATION = re.compile(r"<<([^<>]*)=[^<>]*>>")
"""What GSM8K's answers compute, without the result."""

OPERATIONS = {"+": "addition", "-": "subtraction", "*": "multiplication", "/": "division"}

TWO_OPERANDS = re.compile(r"<<(\d{1,2})([-+*/])(\d{1,2})=(\d+(?:\.\d+)?)>>")

HEADLINE_WORDS = 80
"""Words of an article from which its headline is to be guessed."""


@dataclass(frozen=True)
class OpenSet:
    """How a set is made and used.

    Attributes:
        task: The ``task`` section of a campaign.
        make: Makes the rows from a folder that holds ``gsm8k/train.jsonl`` and ``gsm8k/test.jsonl``; a set made from
            BBC news downloads them.
        start: Labels of the first batch.
        batch: Labels of each later one.
        budget: All labels.
        pool: Texts in the pool.
        test: Texts in the test.
    """

    task: Mapping[str, Any]
    make: Callable[[Path], list[tuple[str, JsonValue]]]
    start: int
    batch: int
    budget: int
    pool: int
    test: int


def numbers(folder: Path) -> list[tuple[str, JsonValue]]:
    """GSM8K's questions, and the numbers in them as a JSON list."""
    return _distinct(
        (question, json.dumps([found.replace(",", "") for found in NUMBER.findall(question)]))
        for question, _ in _gsm8k(folder)
    )


def calculations(folder: Path) -> list[tuple[str, JsonValue]]:
    """The different calculations with two whole numbers below 100 in GSM8K's answers, and their results."""
    return _distinct(
        (f"{one} {operation} {other}", result)
        for _, answer in _gsm8k(folder)
        for one, operation, other, result in TWO_OPERANDS.findall(answer)
    )


def headlines(_: Path) -> list[tuple[str, JsonValue]]:
    """The first words of BBC news below their headlines, and the headlines; one article for each of them."""
    articles: dict[str, str] = {}
    for row in fetch_news(print):
        headline, body = row["text"].split("\n", 1)
        articles.setdefault(headline.strip(), " ".join(body.split()[:HEADLINE_WORDS]))
    return _distinct((body, headline) for headline, body in articles.items())


def operations(folder: Path) -> list[tuple[str, JsonValue]]:
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
            "instruction": "List all numbers in the text as a JSON list.",
            "max_answer_tokens": 48,
        },
        numbers,
        start=20,
        batch=20,
        budget=100,
        pool=500,
        test=100,
    ),
    "calc": OpenSet(
        {
            "kind": "text",
            "instruction": "Calculate. Answer with the number alone.",
            "answer": {"as": "number"},
            "max_answer_tokens": 8,
        },
        calculations,
        start=50,
        batch=50,
        budget=300,
        pool=1500,
        test=200,
    ),
    "headline": OpenSet(
        {
            "kind": "text",
            "instruction": "Write a headline for the news.",
            "metric": "rouge_l",
            "max_answer_tokens": 16,
        },
        headlines,
        start=20,
        batch=20,
        budget=100,
        pool=500,
        test=100,
    ),
    "operations": OpenSet(
        {
            "kind": "multi_label",
            "labels": list(OPERATIONS.values()),
            "instruction": "Which operations does the solution need?",
        },
        operations,
        start=50,
        batch=50,
        budget=300,
        pool=1500,
        test=300,
    ),
}
"""The sets by name."""


def draw(name: str, rows: list[tuple[str, JsonValue]], seed: int) -> tuple[list[Any], list[Any]]:
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


def _distinct(rows: Iterable[tuple[str, JsonValue]]) -> list[tuple[str, JsonValue]]:
    """The first row of each text."""
    found: dict[str, JsonValue] = {}
    for text, answer in rows:
        found.setdefault(text, answer)
    return list(found.items())
