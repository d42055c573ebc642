"""The spine: one campaign, round after round.

    prepare → (fit → evaluate → decide → score → select → push → collect) → next round

``prepare`` requests labels for the audit and calibration items, once. Where a head ranks the pool, the language
model is trained and measured beside these steps (``star_al.training``), from ``push`` on in the rounds that train it,
and after the last round.

Each step computes outside any transaction. It ends in one short transaction, which stores its results and the
round's new state. So the program may be killed at any moment: started again, the loop goes on after the last
stored step, and repeats at most one step, with the same result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType

from star_al import rng
from star_al.artefacts import score_file
from star_al.common.wording import count, sentence_case
from star_al.labelling.by_hand import PausedError, is_closed_by_hand, refuse_if_paused
from star_al.labelling.exchange import StillOpenError, take_in_late, wait_for_answers
from star_al.labelling.outbox import push_open, withdraw_buffer
from star_al.labelling.tally import tally_round
from star_al.parts import LeasedParts
from star_al.stats.shortlist_words import missed_in_words
from star_al.steps.compare_prompts import compare_prompts
from star_al.steps.cut_texts import say_cut_texts
from star_al.steps.decide import as_of_now, decide_round, labels_bought, stop_agreement
from star_al.steps.delivery import with_delivery
from star_al.steps.evaluate import evaluate_round
from star_al.steps.fit import fit_round, input_hash, learner_versions
from star_al.steps.held_out import growing_audit, held_out_queries
from star_al.steps.measured import evaluations_in_words
from star_al.steps.pool import batch_sizes
from star_al.steps.resume import refuse_another_model, resumed
from star_al.steps.sample_spread import spread_warning
from star_al.steps.score import score_pool
from star_al.steps.score_plan import score_plan
from star_al.steps.select import select_batch
from star_al.steps.shortlist import shortlisted
from star_al.steps.teach import TAUGHT_WEIGHT
from star_al.training import DueTraining
from star_al.types import (
    HELD_OUT,
    NO_RESULTS,
    Event,
    JsonObject,
    Role,
    Round,
    RoundCollection,
    RoundEvaluation,
    RoundFit,
    RoundSelection,
    RoundState,
    StepResults,
    Waiting,
)


@dataclass(frozen=True)
class Outcome:
    """How a call of the loop ended.

    ``kind`` is ``stopped`` by a rule, ``paused`` after its rounds, ``waiting`` for labels, or ``held`` by
    `star-al pause`.
    """

    kind: str
    round_index: int
    reason: str


class Loop:
    """Runs the rounds of a campaign under its lease."""

    def __init__(self, parts: LeasedParts) -> None:
        self.store = parts.store
        self.campaign_id = parts.campaign.campaign_id
        self._said_cut: set[str] = set()
        self._wait_for_people = parts.wait
        self.parts = replace(parts, wait=self._wait)
        self.training = DueTraining(self.parts, self._commit)

    def run(self, max_rounds: int | None = None) -> Outcome:
        """Go on from where the campaign stands, for at most ``max_rounds`` rounds in this call."""
        try:
            refuse_if_paused(self.parts)
            refuse_another_model(self.parts)
            self.prepare()
            round_ = self._current_round()
            finished = 0
            while True:
                round_ = self.run_round(round_)
                if round_.state is RoundState.STOPPED:
                    self.training.finish()
                    return Outcome("stopped", round_.index, round_.stop_reason or "")
                finished += 1
                if finished == max_rounds:
                    self.training.finish()
                    return Outcome(
                        "paused", round_.index, f"{count(finished, 'round')} finished, as requested"
                    )
                round_ = self._start_round(round_.index + 1)
        except (StillOpenError, PausedError) as exc:
            self.training.raise_failure()
            rounds = self.store.rounds(self.campaign_id)
            kind = "held" if isinstance(exc, PausedError) else "waiting"
            return Outcome(kind, rounds[-1].index if rounds else 0, str(exc))

    def run_round(self, round_: Round) -> Round:
        """Run the steps of a round that come after its state."""
        steps: dict[RoundState, Callable[[Round], Round]] = {
            RoundState.STARTED: self.fit,
            RoundState.FITTED: self.evaluate,
            RoundState.EVALUATED: self.decide,
            RoundState.DECIDED: self.score,
            RoundState.SCORED: self.select,
            RoundState.SELECTED: self.push,
            RoundState.PUSHED: self.collect,
        }
        round_ = self._kept_up(round_)
        while (step := steps.get(round_.state)) is not None:
            refuse_if_paused(self.parts)
            round_ = self._kept_up(step(round_))
        return round_

    # -- the steps, in order ---------------------------------------------------------------------------

    def prepare(self) -> None:
        """Request labels for the audit and calibration items, and wait for them before anything is trained."""
        if self.store.rounds(self.campaign_id):
            return
        # An interrupted run may have stored the queries of one role only; the others must not be announced again.
        known = {query.query_id for query in self.store.queries(self.campaign_id, 0)}
        closed = is_closed_by_hand(self.parts, HELD_OUT)  # then what was withdrawn is not asked again
        for role in () if closed else (Role.AUDIT, Role.CALIBRATION):
            queries = [query for query in held_out_queries(self.parts, role) if query.query_id not in known]
            if queries:
                texts = count(len(queries), f"{role.value} text")
                message = f"requesting labels for {texts}, drawn at random"
                self.store.add_queries(self.parts.lease, queries, Event("prepare", message))
                self.parts.progress.say(sentence_case(message))
        self._push_open()
        held_out = (Role.AUDIT, Role.CALIBRATION)
        wait_for_answers(self.parts, 0, held_out, self._asked_at("prepare", None), closing=HELD_OUT)
        if advice := compare_prompts(self.parts):
            self.parts.progress.say(advice)

    def fit(self, round_: Round) -> Round:
        """Train what ranks the pool on the round's snapshot of labels; without labels a base model takes its place."""
        watch = _Watch()
        training = self.store.training_labels(self.campaign_id, round_.index)
        # Settings may have changed since the round was started; it records those that it is trained with.
        round_ = replace(round_, config=self._config())
        parts = self.parts.for_round(round_)
        fitted = fit_round(parts, training)
        fit = RoundFit(
            input_hash=input_hash(self.parts, round_, training),
            versions=learner_versions(self.parts),
            adapter_sha256=fitted.adapter.sha256 if fitted.adapter else None,
            head_sha256=fitted.head.sha256 if fitted.head else None,
            samples=parts.spec.samples if training else None,
            shadow_labels=fitted.shadow_labels,
            shadow_sha256=fitted.shadow.sha256 if fitted.shadow else None,
            taught_texts=fitted.taught,
            taught_weight=TAUGHT_WEIGHT if fitted.taught else None,
        )
        round_ = replace(round_, state=RoundState.FITTED, fit=fit)
        head_seconds = {} if fitted.head_seconds is None else {"head": fitted.head_seconds}
        results = StepResults(adapters=fitted.artefacts)
        return self._commit(
            round_, "fit", fitted.in_words(len(training)), watch.seconds(), results, head_seconds
        )

    def evaluate(self, round_: Round) -> Round:
        """Measure the base and the adapted model on the held-out split, fit temperatures, predict the stop set."""
        watch = _Watch()
        parts = self.parts.for_round(round_)
        found = evaluate_round(parts)
        evaluation = RoundEvaluation(
            temperature=found.temperature.value,
            base_temperature=found.base_temperature.value,
            temperature_note=found.temperature.note,
            stop_set=found.stop_set,
            stop_agreement=stop_agreement(parts, found.stop_set),
            platt=found.platt,
        )
        if found.delivery is not None:
            evaluation = with_delivery(evaluation, found.delivery)
        round_ = replace(round_, state=RoundState.EVALUATED, evaluation=evaluation)
        results = StepResults(evaluations=found.evaluations, held_out=found.held_out)
        return self._commit(
            round_, "evaluate", evaluations_in_words(found.evaluations, parts.spec), watch.seconds(), results
        )

    def decide(self, round_: Round) -> Round:
        """Stop, with the reason in words, or go on, by the stopping rules of today's settings."""
        watch = _Watch()
        round_ = as_of_now(self.parts, round_)
        decision = decide_round(self.parts.for_round(round_))
        # Before the commit: if the process died after it, nobody would withdraw the tasks of the buffer.
        if decision.stop_reason:
            self._withdraw_buffer(None)
        state = RoundState.STOPPED if decision.stop_reason else RoundState.DECIDED
        round_ = replace(round_, state=state, decision=decision)
        advice = f"; advice: stop, {decision.stop_advice}" if decision.stop_advice else ""
        return self._commit(round_, "decide", (decision.stop_reason or "go on") + advice, watch.seconds())

    def score(self, round_: Round) -> Round:
        """Compute base and adapted uncertainty of every candidate in the pool."""
        watch = _Watch()
        parts = self.parts.for_round(round_)
        plan = score_plan(parts)
        if plan is None:
            return self._commit(
                replace(round_, state=RoundState.SCORED), "score", "not needed", watch.seconds()
            )
        with self.parts.artefacts.work(f"scores-{self.campaign_id}-{round_.index}") as folder:
            plan = shortlisted(parts, plan, self._ranker_folder(round_), folder)
            scored = score_pool(self.parts, plan, self._ranker_folder(round_), folder)
            sha256 = score_file.concatenate(scored.stages, self.parts.artefacts.scores)
            self.parts.artefacts.share_scores(sha256)
            round_ = replace(round_, state=RoundState.SCORED, scores_sha256=sha256)
            warning = spread_warning(self.parts.for_round(round_), self.parts.artefacts.score_file(sha256))
            message = "; ".join(filter(None, (scored.in_words(plan), warning)))
            # Committed inside the block, whose end removes the shards: a crash before it keeps them.
            return self._commit(round_, "score", message, watch.seconds())

    def select(self, round_: Round) -> Round:
        """Blend the uncertainties, choose the batch, and note for each item why it was chosen."""
        watch = _Watch()
        parts = self.parts.for_round(round_)
        size, buffer = batch_sizes(parts)
        files = self._score_file(round_), self._ranker_folder(round_)
        batch = select_batch(parts, *files, size, buffer)
        asked = sum(not query.buffer for query in batch.queries)
        selection = RoundSelection(
            asked=asked,
            blend_weight=batch.weight.value if batch.weight else None,
            blend_head_weight=batch.weight.head if batch.weight else None,
            blend_note=batch.weight.note if batch.weight else None,
            blend_curve=batch.weight.curve if batch.weight else (),
            histograms=batch.histograms or {},
            shortlist=batch.shortlist,
        )
        round_ = replace(round_, state=RoundState.SELECTED, selection=selection)
        more = len(batch.queries) - asked
        message = f"requesting labels for {count(asked, 'text')}" + (
            f" and {more:,} in the buffer" if more else ""
        )
        audit = growing_audit(parts)
        if audit:
            message += f", and {count(len(audit), 'more audit text')}"
        if batch.shortlist is not None:
            message += f"; {missed_in_words(batch.shortlist)}"
        results = StepResults(queries=(*batch.queries, *audit), ranking=batch.ranking)
        return self._commit(round_, "select", message, watch.seconds(), results)

    def push(self, round_: Round) -> Round:
        """Make each of the round's queries exist in the annotation tool exactly once."""
        watch = _Watch()
        self._withdraw_buffer(round_.index)
        n_open = self._push_open()
        return self._commit(
            replace(round_, state=RoundState.PUSHED), "push", count(n_open, "open task"), watch.seconds()
        )

    def collect(self, round_: Round) -> Round:
        """Mirror annotations and settle labels until enough of the round's queries are closed."""
        watch = _Watch()
        self._push_open()  # in a new process the annotator does not know the tasks yet
        asked_at = self._asked_at("push", round_.index)
        # One after the other: a share of the pool's queries may be enough, but the audit's are all needed.
        for purpose in (Role.POOL, Role.AUDIT):
            wait_for_answers(self.parts, round_.index, (purpose,), asked_at, closing=round_.index)
        tally = tally_round(self.parts, round_.index)
        collection = RoundCollection(
            skipped=tally.dropped, disputed=tally.disputed, agreement=tally.agreement
        )
        round_ = self.training.as_stored(round_)  # its language model may have been trained meanwhile
        round_ = replace(round_, state=RoundState.COLLECTED, collection=collection)
        return self._commit(round_, "collect", tally.in_words(), watch.seconds())

    # -- what the steps share --------------------------------------------------------------------------

    def _kept_up(self, round_: Round) -> Round:
        """Keep up with the training of the language model; return the round as it is stored then."""
        self.training.keep_up(round_)
        return self.training.as_stored(round_)

    def _wait(self, waiting: Waiting) -> bool:
        """Wait for people, and keep up with the training of the language model."""
        self.training.keep_up()
        return self._wait_for_people(replace(waiting, beside=self.training.in_words()))

    def _push_open(self) -> int:
        return self.parts.patience.until_reached(partial(push_open, self.parts))

    def _withdraw_buffer(self, next_round: int | None) -> None:
        self.parts.patience.until_reached(partial(withdraw_buffer, self.parts, next_round))

    def _current_round(self) -> Round:
        """The round to go on with: the newest, or a new one after it; a stopped one if its rules have changed."""
        rounds = self.store.rounds(self.campaign_id)
        if not rounds:
            return self._start_round(0)
        if rounds[-1].state in (RoundState.COLLECTED, RoundState.STOPPED):
            take_in_late(self.parts)
        newest = resumed(self.parts, rounds[-1])
        return self._start_round(newest.index + 1) if newest.state is RoundState.COLLECTED else newest

    def _config(self) -> JsonObject:
        config: JsonObject = self.parts.spec.model_dump(mode="json")
        return config

    def _start_round(self, index: int) -> Round:
        labels = self.store.labels(self.campaign_id, Role.POOL)
        training = [labels[item_id] for item_id in sorted(labels)]
        round_ = Round(
            index=index,
            state=RoundState.STARTED,
            seed=rng.derive_seed(self.parts.campaign.seed, index, "fit"),
            config=self._config(),
            labels=len(training),
            labels_bought=labels_bought(self.parts),
        )
        self.store.start_round(self.parts.lease, round_, training)
        return round_

    def _commit(
        self,
        round_: Round,
        step: str,
        message: str,
        seconds: float,
        results: StepResults = NO_RESULTS,
        apart: Mapping[str, float] = MappingProxyType({}),
    ) -> Round:
        """Store a step in one transaction: the round's values and state, its results and its event.

        ``apart`` are seconds of the step that the round counts under names of their own.
        """
        rest = seconds - sum(apart.values())
        round_ = replace(round_, seconds={**round_.seconds, step: rest, **apart})
        event = Event(step, message, round_.index, seconds)
        self.store.commit_step(self.parts.lease, round_, event, results)
        self.parts.progress.say(f"Round {round_.index} · {step:<8} · {message} ({seconds:.1f} s)")
        say_cut_texts(self.parts, self._said_cut)
        return round_

    def _asked_at(self, step: str, round_index: int | None) -> datetime:
        """When a step sent its queries, by the log; the present moment if it sent none."""
        moments = [
            event.created_at
            for event in self.store.events(self.campaign_id)
            if (event.step, event.round_index) == (step, round_index) and event.created_at is not None
        ]
        return max(moments, default=datetime.now(UTC))

    def _ranker_folder(self, round_: Round) -> Path | None:
        sha256 = self.parts.ranker_sha256(round_)
        return self.parts.artefacts.path_of(sha256) if sha256 else None

    def _score_file(self, round_: Round) -> Path | None:
        return self.parts.artefacts.score_file(round_.scores_sha256) if round_.scores_sha256 else None


class _Watch:
    """Measures the seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._start
