"""A learner without torch that writes answers: it has seen which words go with which answers, and draws among those."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import entr, log_softmax, logsumexp

from star_al.acquire.open_answers import Answers, class_log_probs, effective_draws, sequence_entropy
from star_al.errors import ModelError
from star_al.ports import Advance, Pool, Taught
from star_al.task import Task
from star_al.types import (
    BasePrediction,
    Float32Array,
    FloatArray,
    Item,
    JsonObject,
    JsonValue,
    Predictions,
)
from support.numpy_learner import _bag_of_words, _unit

GUESSES = ("I do not know", "Perhaps. Answer: sport")
"""What the base model writes: one of these by the text, the first without an answer in it."""


class DrawingLearner:
    """Answers that were seen in training, with odds by the words of the text, as a ``ports.Learner``."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.base_calls: list[str] = []

    base_key = "the drawing learner's base"
    base_reads_pool = False
    truncated = 0

    def check(self, items: Sequence[Item] = ()) -> None:
        pass  # nothing to load

    def versions(self) -> JsonObject:
        return {"learner": "drawing", "device": "cpu", "dtype": "float32"}

    def with_other_prompt(self) -> DrawingLearner | None:
        return None

    def training_steps(self, n_examples: int, n_taught: int = 0) -> int:
        return n_examples

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        self.base_calls += [item.item_id for item in items]
        advance(len(items))
        return [self._base(item) for item in items]

    def _base(self, item: Item) -> BasePrediction:
        sure = _unit(item.text)
        value = self.task.read(item, GUESSES[sure > 0.5])
        odds = 0.2 + 0.6 * sure
        return BasePrediction(
            item.item_id, np.log([odds, 1.0 - odds]), answers=(value, None), uncertainty=1.0 - sure
        )

    def fit(
        self,
        examples: Sequence[tuple[Item, JsonValue]],
        *,
        pool: Pool,
        seed: int,
        folder: Path,
        parent: Path | None,
        advance: Advance,
        taught: Taught | None = None,
    ) -> str:
        words: dict[str, Counter[str]] = {}
        for item, value in examples:
            words.setdefault(self.task.spell(item, value), Counter()).update(item.text.split())
            advance(1)
        model = {"seed": seed, "answers": {answer: dict(seen) for answer, seen in words.items()}}
        (folder / "model.json").write_text(json.dumps(model, sort_keys=True))
        return "drawing"

    def predict(
        self,
        folder: Path | None,
        items: Sequence[Item],
        *,
        draws: range | None,
        seed: int,
        advance: Advance,
        tolerance: float = 0.0,
    ) -> Predictions:
        if folder is None:
            raise ModelError("the base model's answers are in the store")
        words: Mapping[str, Mapping[str, float]] = json.loads((folder / "model.json").read_text())["answers"]
        samples: Sequence[int | None] = draws or [
            None
        ]  # without samples, what it draws tells the likeliest answer
        told = [self._answer(item, words, samples, seed) for item in items]
        advance(len(items))
        width = max((len(log_probs_K_C[0]) for _, log_probs_K_C, *_ in told), default=1)
        log_probs_N_K_C = np.full((len(items), len(samples), width), -np.inf)
        for row, (_, log_probs_K_C, *_) in enumerate(told):
            log_probs_N_K_C[row, :, : log_probs_K_C.shape[1]] = log_probs_K_C
        names = ["nll", "token_entropy", "sequence_entropy", "length", "ess"]
        names += ["token_bald"] if len(samples) > 1 else []  # one sample has none to be compared with
        signals = {name: np.array([signal[name] for _, _, signal, _ in told]) for name in names}
        ids = tuple(item.item_id for item in items)
        answers = tuple(values for values, *_ in told)
        texts = tuple(texts for *_, texts in told) if self.task.extracts else ()
        return Predictions(ids, log_probs_N_K_C, answers, open_ended=True, signals=signals, texts=texts)

    def _answer(
        self,
        item: Item,
        words: Mapping[str, Mapping[str, float]],
        samples: Sequence[int | None],
        seed: int,
    ) -> tuple[tuple[JsonValue, ...], FloatArray, dict[str, float], tuple[str, ...]]:
        """Draw answers under each sample; their values, the classes' log-probabilities, signals, and texts."""
        known = sorted(words)
        log_probs_K_A = np.stack([_log_probs(item.text, known, words, k, seed) for k in samples])
        counts_K_A = np.zeros(log_probs_K_A.shape)
        for row, k in enumerate(samples):
            edges_A = np.exp(log_probs_K_A[row]).cumsum()
            for j in range(self.task.spec.answer_draws):
                drawn = np.searchsorted(edges_A, _unit(f"{seed}/{item.item_id}/{k}/{j}") * edges_A[-1])
                counts_K_A[row, drawn] += 1
        distinct = np.flatnonzero(counts_K_A.sum(axis=0))
        values: list[JsonValue] = []
        texts: list[str] = []
        classes = []
        for position in distinct:
            value = self.task.read(item, known[position])
            same = (
                n for n, other in enumerate(values) if other == value or self.task.same(item, other, value)
            )
            classes.append(next(same, len(values)))
            if classes[-1] == len(values):
                values.append(value)
                texts.append(known[position])
        lengths_A = np.array([len(known[position].split()) for position in distinct])
        answers = Answers(log_probs_K_A[:, distinct], counts_K_A[:, distinct], np.array(classes), lengths_A)
        mixture_A = logsumexp(log_probs_K_A, axis=0) - np.log(len(samples))
        entropy_K = entr(np.exp(log_probs_K_A)).sum(axis=1)
        total = float(entr(np.exp(mixture_A)).sum())
        signals = {
            "nll": float(-mixture_A.max()),
            "token_entropy": total,
            "token_bald": max(0.0, total - float(entropy_K.mean())),
            "sequence_entropy": sequence_entropy(answers),
            "length": float(lengths_A[0]),
            "ess": float(effective_draws(answers).min()),
        }
        return (*values, None), class_log_probs(answers), signals, (*texts, "")

    def export(
        self,
        folder: Path,
        out: Path,
        *,
        draws: range | None,
        seed: int,
        merged: bool,
        examples: Sequence[Item],
    ) -> JsonObject:
        raise ModelError("the drawing learner is no language model")

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        advance(len(items))
        return np.array([_bag_of_words(item.text) for item in items], dtype=np.float32)


def _log_probs(
    text: str, known: Sequence[str], words: Mapping[str, Mapping[str, float]], k: int | None, seed: int
) -> FloatArray:
    """What sample k thinks of the answers that it knows, (A,)."""
    logits_A = np.zeros(len(known))
    for word in text.split():
        jitter = 1.0 if k is None else 0.5 + _unit(f"{seed}/{k}/{word}")
        logits_A += jitter * np.array([words[answer].get(word, 0.0) for answer in known])
    scores_A: FloatArray = log_softmax(logits_A)
    return scores_A
