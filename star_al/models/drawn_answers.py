"""What a model wrote to items, and what that says about them: classes of answers, and signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from star_al.acquire.measures import bald
from star_al.acquire.open_answers import (
    Answers,
    class_log_probs,
    effective_draws,
    has_enough_draws,
    sequence_entropy,
    trusted_bald,
)
from star_al.models.writing.ending import Ending
from star_al.models.writing.writer import Written
from star_al.task import Task
from star_al.types import FloatArray, IntArray, Item, JsonValue, Predictions

Tokens = tuple[int, ...]

_SUREST = 1 - 1e-9
"""A greedy answer has no more probability than this, so that any other answer has some."""


GREEDY_SIGNALS = ("nll", "token_entropy", "length")
"""What is known of an item by its likeliest answer alone."""


@dataclass(frozen=True)
class Greedy:
    """The likeliest answer to an item, token by token.

    Attributes:
        value: What it means.
        written: The answer.
        text: The answer in words.
    """

    value: JsonValue
    written: Written
    text: str

    @property
    def nll(self) -> float:
        """−log p a token, in nats."""
        return max(0.0, -self.written.log_prob / len(self.written.tokens))

    @property
    def log_probs_C(self) -> FloatArray:
        """Log-probabilities of the answer, by the geometric mean of its tokens' probabilities, and of any other."""
        p = min(float(np.exp(-self.nll)), _SUREST)
        return np.array([-self.nll if p < _SUREST else np.log(p), np.log1p(-p)])

    def signals(self) -> dict[str, float]:
        """Return what is known without any draw."""
        return {
            "nll": self.nll,
            "token_entropy": max(0.0, self.written.entropy),
            "length": float(len(self.written.tokens)),
        }


def read_greedy(
    task: Task, ending: Ending, items: Sequence[Item], written: Sequence[Written]
) -> list[Greedy]:
    """Return what greedy answers mean."""
    texts = [ending.answer(one.tokens) for one in written]
    return [
        Greedy(task.read(item, text), one, text)
        for item, one, text in zip(items, written, texts, strict=True)
    ]


def greedy_predictions(task: Task, items: Sequence[Item], greedy: Sequence[Greedy]) -> Predictions:
    """Return predictions of one function (K = 1) by its likeliest answers alone."""
    rows = [one.log_probs_C for one in greedy]
    return Predictions(
        tuple(item.item_id for item in items),
        np.array(rows, dtype=np.float64).reshape(len(items), 1, 2),
        tuple((one.value, None) for one in greedy),
        open_ended=True,
        signals=_columns([one.signals() for one in greedy], GREEDY_SIGNALS),
        texts=tuple((one.text, "") for one in greedy) if task.extracts else (),
    )


@dataclass(frozen=True)
class Draws:
    """The distinct answers that K samples drew to an item, in the order in which they were first drawn.

    Attributes:
        tokens: Their ids.
        counts_K_A: How often each sample drew each.
    """

    tokens: tuple[Tokens, ...]
    counts_K_A: FloatArray

    @classmethod
    def of(cls, drawn_K: Sequence[Sequence[Written]]) -> Draws:
        """Count the answers that each sample drew."""
        tokens = tuple(dict.fromkeys(tuple(one.tokens) for drawn in drawn_K for one in drawn))
        counts_K_A = np.zeros((len(drawn_K), len(tokens)))
        for row, drawn in zip(counts_K_A, drawn_K, strict=True):
            for one in drawn:
                row[tokens.index(tuple(one.tokens))] += 1
        return cls(tokens, counts_K_A)


def drawn_predictions(
    task: Task,
    ending: Ending,
    items: Sequence[Item],
    greedy: Sequence[Greedy],
    draws: Sequence[Draws],
    log_likelihoods: Sequence[FloatArray],
    token_bald: FloatArray | None,
) -> Predictions:
    """Return predictions by the answers that K samples drew and scored.

    Args:
        task: Says what answers mean, and which are one.
        ending: When an answer is over.
        items: N items.
        greedy: Their likeliest answers.
        draws: What was drawn.
        log_likelihoods: Of each distinct answer by each sample, (K, A) an item.
        token_bald: Mean mutual information of token and sample along the greedy answer, (N,); ``None`` for one
            sample, or if nobody asks for it.
    """
    values: list[tuple[JsonValue, ...]] = []
    rows: list[FloatArray] = []
    signals: list[dict[str, float]] = []
    texts: list[tuple[str, ...]] = []
    for item, most, own, log_likelihoods_K_A in zip(items, greedy, draws, log_likelihoods, strict=True):
        texts_A = [ending.answer(tokens) for tokens in own.tokens]
        found, classes_A = _classes(task, item, texts_A)
        texts.append((*_typical(texts_A, classes_A, own.counts_K_A.sum(axis=0), len(found)), ""))
        lengths_A = np.array([len(tokens) for tokens in own.tokens])
        answers = Answers(log_likelihoods_K_A, own.counts_K_A, classes_A, lengths_A)
        values.append((*found, None))
        rows.append(class_log_probs(answers))
        told = {"sequence_entropy": sequence_entropy(answers), "ess": float(effective_draws(answers).min())}
        signals.append({**most.signals(), **told})
    width, samples = max((row.shape[1] for row in rows), default=1), len(draws[0].counts_K_A) if draws else 1
    log_probs_N_K_C = np.full((len(items), samples, width), -np.inf)
    for row, log_probs_K_C in enumerate(rows):
        log_probs_N_K_C[row, :, : log_probs_K_C.shape[1]] = log_probs_K_C
    columns = _columns(signals, [*GREEDY_SIGNALS, "sequence_entropy", "ess"])
    if token_bald is not None:
        m = round(float(draws[0].counts_K_A.sum()) / samples) if draws else 1
        columns["token_bald"] = token_bald
        columns["bald"] = trusted_bald(
            bald(log_probs_N_K_C), token_bald, columns["length"], columns["ess"], m, samples
        )
    ids = tuple(item.item_id for item in items)
    kept = tuple(texts) if task.extracts else ()
    return Predictions(ids, log_probs_N_K_C, tuple(values), open_ended=True, signals=columns, texts=kept)


def _typical(texts_A: Sequence[str], classes_A: IntArray, counts_A: FloatArray, classes: int) -> list[str]:
    """Return the text of each class that was drawn most often, of several the first."""
    return [texts_A[int(np.where(classes_A == each, counts_A, -1.0).argmax())] for each in range(classes)]


def share_by_classes(predictions: Predictions, draws: int) -> float:
    """Return the share of items whose samples can be compared by classes of answers, see ``trusted_bald``."""
    return float(np.mean(has_enough_draws(predictions.signals["ess"], draws))) if len(predictions) else 1.0


def _classes(task: Task, item: Item, texts: Sequence[str]) -> tuple[list[JsonValue], IntArray]:
    """Return the values of different answers, and the class of each text; those without an answer are one class."""
    values: list[JsonValue] = []
    classes: list[int] = []
    for text in texts:
        value = task.read(item, text)
        same = (
            number
            for number, other in enumerate(values)
            if other == value or (None not in (other, value) and task.same(item, other, value))
        )
        classes.append(next(same, len(values)))
        if classes[-1] == len(values):
            values.append(value)
    return values, np.array(classes, dtype=np.int64)


def _columns(signals: Sequence[Mapping[str, float]], names: Sequence[str]) -> dict[str, FloatArray]:
    return {name: np.array([told[name] for told in signals], dtype=np.float64) for name in names}
