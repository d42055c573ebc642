"""Rows of a score file in memory, and how they are cut, joined and overlaid."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from star_al.errors import StoreError
from star_al.types import BoolArray, FloatArray, IntArray, JsonValue, Predictions

Float32Array: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


class Scores(NamedTuple):
    """Scores of N items, named as their columns; None for those that were not computed.

    Attributes:
        base_uncertainty: Uncertainty of the base model: predictive entropy, in nats.
        adapted_uncertainty: Uncertainty of the adapted model, by the campaign's measure.
        aleatoric: Part of the entropy of the adapted model's predictive mean, in nats; NaN, like the other part, where
            written answers were drawn too seldom to tell.
        epistemic: The other part.
        samples: How many posterior samples each item got.
        head_uncertainty: Uncertainty of a head that has a part in the blend.
        drawn: 1 for items that were drawn at random beside a shortlist, 0 for those on it.
    """

    base_uncertainty: FloatArray | None = None
    adapted_uncertainty: FloatArray | None = None
    aleatoric: FloatArray | None = None
    epistemic: FloatArray | None = None
    samples: IntArray | None = None
    head_uncertainty: FloatArray | None = None
    drawn: IntArray | None = None

    def of(self, models: Collection[str]) -> Scores:
        """Return the uncertainties of some of the models: ``base``, ``adapted`` and ``head``."""
        names = [f"{model}_uncertainty" for model in models]
        return Scores(**{name: getattr(self, name) for name in names})

    def rows(self, mask_N: BoolArray) -> Scores:
        """Return the scores of some of the items."""
        return Scores._make(None if column is None else column[mask_N] for column in self)

    def followed_by(self, others: Scores) -> Scores:
        """Return the uncertainties of these items and of others; none for a model that is lacking in either.

        ``others`` without any are left out.
        """
        if others.adapted_uncertainty is None or not len(others.adapted_uncertainty):
            return self
        names = ("base_uncertainty", "adapted_uncertainty", "head_uncertainty")
        pairs = {name: (getattr(self, name), getattr(others, name)) for name in names}
        return Scores(
            **{
                name: np.concatenate([own_N, other_M])
                for name, (own_N, other_M) in pairs.items()
                if own_N is not None and other_M is not None
            }
        )


class OpenAnswers(NamedTuple):
    """What the columns of N items stand for where answers are open, and what else the model told of the items.

    Attributes:
        values_N: The values of each item's columns, the last of them None for any other answer, as JSON.
        signals: Further figures (N,) by name.
        texts_N: What was written for each value where that is more than the value; None elsewhere.
    """

    values_N: tuple[tuple[str, ...], ...]
    signals: Mapping[str, FloatArray]
    texts_N: tuple[tuple[str, ...], ...] | None = None

    @classmethod
    def of(cls, predictions: Predictions) -> OpenAnswers | None:
        """Return those of predictions; None if all items have the columns of their task."""
        if not predictions.open_ended:
            return None
        values_N = [predictions.answers_of(row) for row in range(len(predictions))]
        return cls.written(values_N, predictions.signals)._replace(texts_N=predictions.texts or None)

    @classmethod
    def written(
        cls, values_N: Sequence[Sequence[JsonValue]], signals: Mapping[str, FloatArray]
    ) -> OpenAnswers:
        """Return them for values as they are."""
        texts = (tuple(json.dumps(value, ensure_ascii=False) for value in values) for values in values_N)
        return cls(tuple(texts), dict(signals))

    @property
    def answers(self) -> tuple[tuple[JsonValue, ...], ...]:
        """The values themselves."""
        return tuple(tuple(map(json.loads, values)) for values in self.values_N)

    def rows(self, rows: slice) -> OpenAnswers:
        """Return those of some items."""
        return OpenAnswers(
            self.values_N[rows],
            {name: values_N[rows] for name, values_N in self.signals.items()},
            None if self.texts_N is None else self.texts_N[rows],
        )


class Page(NamedTuple):
    """Rows of a score file; ``opened`` is None if the task knows what the columns stand for."""

    item_ids: tuple[str, ...]
    log_probs_N_K_C: Float32Array
    scores: Scores
    opened: OpenAnswers | None = None

    @property
    def bytes_N(self) -> IntArray:
        """About how many bytes each row takes."""
        _, samples, labels = self.log_probs_N_K_C.shape
        bytes_N: IntArray = np.full(len(self.item_ids), 4 * samples * labels, dtype=np.int64)
        if self.opened is not None:
            bytes_N += [sum(map(len, values)) for values in self.opened.values_N]
            bytes_N += 8 * len(self.opened.signals)
            if self.opened.texts_N is not None:
                bytes_N += [sum(map(len, texts)) for texts in self.opened.texts_N]
        return bytes_N

    def cut(self, rows: slice) -> Page:
        """Return some of the rows."""
        columns = [None if column is None else column[rows] for column in self.scores]
        opened = None if self.opened is None else self.opened.rows(rows)
        return Page(self.item_ids[rows], self.log_probs_N_K_C[rows], Scores._make(columns), opened)

    def join(self, below: Page, folder: Path) -> Page:
        """Return these rows, followed by others with the same columns."""
        _require_same_columns(self, below, folder)
        columns = [
            None if above_N is None or below_N is None else np.concatenate([above_N, below_N])
            for above_N, below_N in zip(self.scores, below.scores, strict=True)
        ]
        opened = None
        if self.opened is not None and below.opened is not None:
            further = below.opened.signals
            opened = OpenAnswers(
                self.opened.values_N + below.opened.values_N,
                {
                    name: np.concatenate([above_N, further[name]])
                    for name, above_N in self.opened.signals.items()
                },
                None if self.opened.texts_N is None else self.opened.texts_N + (below.opened.texts_N or ()),
            )
        return Page(
            self.item_ids + below.item_ids,
            np.concatenate([self.log_probs_N_K_C, below.log_probs_N_K_C]),
            Scores._make(columns),
            opened,
        )

    def put(self, rows: Sequence[int], newer: Page, folder: Path) -> None:
        """Write ``newer`` over some rows, in place; for tasks whose columns mean the same in both."""
        _require_same_columns(self, newer, folder)
        self.log_probs_N_K_C[rows] = newer.log_probs_N_K_C
        for old_N, new_N in zip(self.scores, newer.scores, strict=True):
            if old_N is not None and new_N is not None:
                np.put(old_N, rows, new_N)


def _require_same_columns(one: Page, other: Page, folder: Path) -> None:
    if _columns(one) != _columns(other):
        raise StoreError(f"{folder}: score files with different columns. Score the round again.")


def _columns(page: Page) -> list[str]:
    names = [name for name, column in page.scores._asdict().items() if column is not None]
    if page.opened is None:
        return names
    texts = [] if page.opened.texts_N is None else ["texts"]
    return [*names, "answers", *texts, *sorted(page.opened.signals)]
