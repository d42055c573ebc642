"""The text sets of ``study_labels.py``: how they are read, encoded once, and split anew for every seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from star_al import rng
from star_al.app.demo import fetch_news
from star_al.common.files import replacing
from star_al.head.label_names import name_text
from star_al.models.encoder import open_encoder
from star_al.types import Float32Array, IntArray

Row = tuple[str, str]
"""A text and its label."""


@dataclass(frozen=True)
class Sizes:
    """How a set is used.

    Attributes:
        start: Labels of the first batch.
        batch: Labels of each later one.
        budget: All labels.
        pool: Texts in the pool.
        test: Texts in the test.
        long_tail: True for label frequencies proportional to 1 / rank, as far as there are texts; the ranks are
            drawn by seed.
        ece_at: Labels at which the calibration is measured.
    """

    start: int
    batch: int
    budget: int
    pool: int
    test: int
    long_tail: bool = False
    ece_at: int = 200

    @property
    def half(self) -> int:
        """Half of the budget."""
        return self.budget // 2


SETS: dict[str, Sizes] = {
    "bbc": Sizes(start=25, batch=25, budget=225, pool=1627, test=500),
    "sms_spam": Sizes(start=25, batch=25, budget=225, pool=3000, test=1000),
    "banking77": Sizes(start=77, batch=50, budget=577, pool=3000, test=1000),
    "hwu64": Sizes(start=64, batch=50, budget=564, pool=3000, test=1000),
    "banking77_tail": Sizes(start=50, batch=50, budget=400, pool=2000, test=500, long_tail=True),
}
"""The sets by name. ``banking77_tail`` has the texts of ``banking77``."""


@dataclass(frozen=True)
class Texts:
    """All distinct texts of a set.

    Attributes:
        texts: The N texts.
        targets_N: Columns of their labels.
        labels: The C labels, sorted.
        embeddings_N_d: The encoder's vectors of the texts.
        names_C_d: The encoder's vectors of the labels' names.
    """

    texts: tuple[str, ...]
    targets_N: IntArray
    labels: tuple[str, ...]
    embeddings_N_d: Float32Array
    names_C_d: Float32Array


@dataclass(frozen=True)
class Split:
    """The pool (P texts) and the test (T texts) of one seed.

    Attributes:
        name: The set.
        seed: The seed.
        texts_P: Texts of the pool.
        pool_P_d: Their vectors.
        targets_P: Columns of their true labels.
        texts_T: Test texts.
        test_T_d: Their vectors.
        test_targets_T: Columns of their labels.
        labels: The C labels.
        names_C_d: Vectors of the labels' names.
    """

    name: str
    seed: int
    texts_P: tuple[str, ...]
    pool_P_d: Float32Array
    targets_P: IntArray
    texts_T: tuple[str, ...]
    test_T_d: Float32Array
    test_targets_T: IntArray
    labels: tuple[str, ...]
    names_C_d: Float32Array

    @property
    def sizes(self) -> Sizes:
        """How the set is used."""
        return SETS[self.name]


def prepare(name: str, data: Path | None, encoder: str | None, cache: Path) -> Path:
    """Read a set and encode it, unless the cache has it; return the cached file.

    Args:
        name: The set.
        data: Folder with a folder for each set but BBC, which is downloaded.
        encoder: The encoder, as a folder or a name on the hub.
        cache: Folder of encoded sets.

    Raises:
        ValueError: The set is not in the cache, and the folders that it could be made from are not given.
    """
    source = name.removesuffix("_tail")
    path = cache / f"{source}.npz"
    if path.exists():
        return path
    if encoder is None or (data is None and source != "bbc"):
        raise ValueError(f"{path} is missing; give --data and --encoder to make it")
    texts, labels = zip(*_rows(source, data), strict=True)
    names = sorted(set(labels))
    model = open_encoder(encoder)
    cache.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new, new.open("wb") as file:
        np.savez(
            file,
            texts=np.array(json.dumps(texts)),
            labels=np.array(json.dumps(names)),
            targets=np.array([names.index(label) for label in labels]),
            embeddings=model.encode(texts).vectors_N_d,
            names=model.encode([name_text(label) for label in names]).vectors_N_d,
        )
    return path


def load(path: Path) -> Texts:
    """Load an encoded set."""
    with np.load(path) as arrays:
        return Texts(
            texts=tuple(json.loads(str(arrays["texts"]))),
            targets_N=arrays["targets"].astype(np.int64),
            labels=tuple(json.loads(str(arrays["labels"]))),
            embeddings_N_d=arrays["embeddings"].astype(np.float32),
            names_C_d=arrays["names"].astype(np.float32),
        )


def _rows(source: str, data: Path | None) -> list[Row]:
    """All rows with distinct texts. Given splits are joined, since each seed makes its own."""
    if data is None or source == "bbc":
        found = [(row["text"], row["label"]) for row in fetch_news(print)]
    else:
        lines = [
            json.loads(line)
            for part in ("train", "test")
            for line in (data / source / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        found = [(line["text"], line["label"]) for line in lines]
    first: dict[str, Row] = {}
    for row in found:
        first.setdefault(row[0], row)
    return list(first.values())


def split(name: str, texts: Texts, seed: int) -> Split:
    """Draw the pool and the test of a seed; both have the same label frequencies."""
    sizes = SETS[name]
    random = rng.generator(seed, 0, f"study/{name}")
    order_N = random.permutation(len(texts.texts))
    if sizes.long_tail:
        order_N = _long_tail(order_N, texts.targets_N, sizes.pool + sizes.test, random)
    pool, test = order_N[: sizes.pool], order_N[sizes.pool : sizes.pool + sizes.test]
    return divided(name, seed, texts, pool, test)


def divided(name: str, seed: int, texts: Texts, pool: IntArray, test: IntArray) -> Split:
    """Return a set's pool and test, by the places of their texts."""
    return Split(
        name=name,
        seed=seed,
        texts_P=tuple(texts.texts[place] for place in pool),
        pool_P_d=texts.embeddings_N_d[pool],
        targets_P=texts.targets_N[pool],
        texts_T=tuple(texts.texts[place] for place in test),
        test_T_d=texts.embeddings_N_d[test],
        test_targets_T=texts.targets_N[test],
        labels=texts.labels,
        names_C_d=texts.names_C_d,
    )


def _long_tail(order_N: IntArray, targets_N: IntArray, n: int, random: np.random.Generator) -> IntArray:
    """Take ``n`` texts of an order, of each label as many as 1 / its rank allows, at most all that it has."""
    n_labels = int(targets_N.max()) + 1
    there_C = np.bincount(targets_N, minlength=n_labels)
    wanted_C = _shares(there_C, 1.0 / (1.0 + random.permutation(n_labels)), n)
    kept: list[int] = []
    taken_C = np.zeros(n_labels, dtype=np.int64)
    for place in order_N.tolist():
        label = targets_N[place]
        if taken_C[label] < wanted_C[label]:
            taken_C[label] += 1
            kept.append(place)
    # Frequent labels go on after rare ones are used up, so the end of the order holds few labels.
    return random.permutation(np.array(kept))


def _shares(there_C: IntArray, weights_C: NDArray[np.floating[Any]], n: int) -> IntArray:
    """Whole numbers near min(there, scale · weights) that add up to ``n``."""
    low, high = 0.0, float(n / weights_C.min())
    for _ in range(100):  # bisection: the sum rises with the scale
        scale = (low + high) / 2
        low, high = (scale, high) if np.minimum(there_C, scale * weights_C).sum() < n else (low, scale)
    exact_C = np.minimum(there_C, high * weights_C)
    whole_C: IntArray = np.floor(exact_C).astype(np.int64)
    largest = np.argsort(whole_C - exact_C, kind="stable")  # the largest remainders are rounded up
    whole_C[largest[: n - whole_C.sum()]] += 1
    return whole_C


def wrong_answers(of: Split, share: float) -> IntArray:
    """The answers to all texts of the pool if this share of them, drawn at random, is another label."""
    random = rng.generator(of.seed, 0, f"study/{of.name}/answers")
    is_wrong_P = random.random(len(of.targets_P)) < share
    shift_P = random.integers(1, len(of.labels), len(of.targets_P))
    answers_P: IntArray = np.where(is_wrong_P, (of.targets_P + shift_P) % len(of.labels), of.targets_P)
    return answers_P


def plain_texts(of: Split, positions: Sequence[int]) -> list[str]:
    """The texts at some positions of the pool."""
    return [of.texts_P[position] for position in positions]
