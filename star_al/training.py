"""Trains the language model in the rounds that are due, where a head ranks the pool.

With people who answer, it is trained in the background: the loop goes on, and stores what has been found out when it
comes by. Without people it is trained in turn. Either way an adapter belongs to the round in which it became due, and
is trained on that round's snapshot of labels, so it is the same whenever it is finished. One is trained at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from star_al.common.wording import count
from star_al.errors import LeaseLostError, StarALError
from star_al.labelling.outbox import record
from star_al.parts import LeasedParts
from star_al.ports import Background
from star_al.steps.fit import as_trained_now
from star_al.steps.measured import evaluations_in_words
from star_al.steps.train import due_rounds, train_and_measure
from star_al.types import Adapter, MeasuredBeside, Round, StepResults, TrainingResult

LEARNER_MODELS = ("base", "adapted", "delivered")
"""Models of a round that are the language model, untrained and trained, or that need it."""


class Commit(Protocol):
    """Stores a step of a round, as ``Loop`` does."""

    def __call__(
        self, round_: Round, step: str, message: str, seconds: float, results: StepResults, /
    ) -> Round:
        """Store it in one transaction, and tell it."""


class DueTraining:
    """Trains the language models that are due, and stores them with the rounds that they belong to.

    Args:
        parts: The campaign under its lease.
        commit: Stores a step.
    """

    def __init__(self, parts: LeasedParts, commit: Commit) -> None:
        self._parts, self._commit = parts, commit
        self._in_turn = parts.background is None  # then each call of ``keep_up`` trains all that is due
        self._work: Background = parts.background or _InTurn(parts)
        self._round: Round | None = None  # with the settings that its language model is trained with
        self._error: StarALError | None = None

    def keep_up(self, round_: Round | None = None) -> None:
        """Store what has been trained, and begin with what is due.

        Training that fails in the background does not stop the questions: the error is told, and ``finish`` tries
        again.

        Args:
            round_: The newest round, if its state may differ from the stored one.

        Raises:
            StarALError: It was trained in turn, and failed.
        """
        if self._parts.head is not None and self._error is None:
            self._train(round_, wait=self._in_turn)

    def finish(self) -> None:
        """Train all that is due, and wait for it.

        Raises:
            StarALError: Training failed.
        """
        if self._parts.head is not None:
            self._error = None
            self._train(None, wait=True)

    def as_stored(self, round_: Round) -> Round:
        """A round with what has been stored of its language model since.

        A resumed round that goes back to an earlier step stays as it is; that step stores it.
        """
        if self._parts.head is None:
            return round_
        stored = self._parts.store.rounds(self._parts.campaign.campaign_id)[round_.index]
        return stored if stored.state is round_.state else round_

    def raise_failure(self) -> None:
        """Raise the error of a training that failed in the background and was not finished since."""
        if self._error is not None:
            raise self._error

    def in_words(self) -> str | None:
        """What is being trained now; None if nothing is."""
        return self._work.in_words() if self._work.busy else None

    def _train(self, newest: Round | None, *, wait: bool) -> None:
        while True:
            if self._round is not None:
                for result in self._results(wait=wait):
                    self._store(self._round, result)
            if self._work.busy or self._error is not None:
                return
            self._round = self._next(newest)
            if self._round is None:
                return
            self._work.start(self._round)

    def _results(self, *, wait: bool) -> Iterator[TrainingResult]:
        try:
            yield from self._work.results(wait=wait)
        except StarALError as exc:
            if wait or isinstance(exc, LeaseLostError):
                raise
            self._error = exc
            again = "It is tried again at the end of the campaign and in the next run"
            words = str(exc).rstrip(".")
            record(self._parts, "train", f"the language model could not be trained: {words}. {again}")

    def _next(self, newest: Round | None) -> Round | None:
        """The first round that is due, with the settings to train with."""
        store, campaign_id = self._parts.store, self._parts.campaign.campaign_id
        rounds = store.rounds(campaign_id)
        if newest is not None and newest.state is not rounds[newest.index].state:
            rounds[newest.index] = newest
        due = due_rounds(rounds, self._parts.spec.task.labels)
        if not due:
            return None
        if due[0].adapter_sha256 is not None:  # it is only measured
            return due[0]
        return as_trained_now(self._parts, due[0], store.training_labels(campaign_id, due[0].index))

    def _store(self, due: Round, result: TrainingResult) -> None:
        """Store a result with its round, whose other values may have changed while it was computed."""
        round_ = self._parts.store.rounds(self._parts.campaign.campaign_id)[due.index]
        if isinstance(result.found, Adapter):
            self._store_adapter(due, round_, result.found, result)
        else:
            self._store_measured(round_, result.found, result.seconds)

    def _store_adapter(self, due: Round, round_: Round, adapter: Adapter, result: TrainingResult) -> None:
        assert due.fit is not None and round_.fit is not None
        as_trained = {
            name: getattr(due.fit, name) for name in ("input_hash", "taught_texts", "taught_weight")
        }
        # The round began before the model was loaded; later ones go on with this batch.
        versions = {} if result.batch_tokens is None else {"batch_tokens": result.batch_tokens}
        fit = replace(
            round_.fit,
            adapter_sha256=adapter.sha256,
            versions={**versions, **round_.fit.versions},
            **as_trained,
        )
        message = f"trained the language model on {count(round_.labels, 'label')}"
        if due.fit.taught_texts:
            message += f" and on the head's answers to {count(due.fit.taught_texts, 'other text')}"
        round_ = replace(round_, config=due.config, fit=fit)
        self._commit(round_, "train", message, result.seconds, StepResults(adapters=(adapter,)))

    def _store_measured(self, round_: Round, found: MeasuredBeside, seconds: float) -> None:
        store, campaign_id = self._parts.store, self._parts.campaign.campaign_id
        earlier = store.evaluations(campaign_id, round_.index)
        predictions = store.held_out(campaign_id, round_.index)
        results = StepResults(
            evaluations=[one for one in earlier if one.model not in LEARNER_MODELS] + [*found.evaluations],
            held_out=[one for one in predictions if one.model != "adapted"] + [*found.held_out],
        )
        message = evaluations_in_words(found.evaluations, self._parts.for_round(round_).spec)
        self._commit(replace(round_, evaluation=found.record), "measure", message, seconds, results)


class _InTurn:
    """A ``Background`` that is none: it works when results are asked for."""

    def __init__(self, parts: LeasedParts) -> None:
        self._parts = parts
        self._left: Iterator[TrainingResult] | None = None

    @property
    def busy(self) -> bool:
        """See ``Background.busy``."""
        return self._left is not None

    def start(self, round_: Round) -> None:
        """See ``Background.start``."""
        self._left = train_and_measure(self._parts, round_)

    def results(self, *, wait: bool) -> Iterator[TrainingResult]:
        """See ``Background.results``."""
        left, self._left = self._left, None
        yield from left or ()

    def in_words(self) -> str:
        """See ``Background.in_words``."""
        return "training"
