"""The language model is trained in the background while a head chooses and people answer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star_al.config.file import load_campaign
from star_al.errors import ModelError
from star_al.loop import Loop, Outcome
from star_al.parts import LeasedParts
from star_al.ports import StillOurs
from star_al.steps.train import train_and_measure
from star_al.task import closed, make_task
from star_al.types import (
    Ensured,
    ExternalTask,
    JsonObject,
    Poll,
    Query,
    Round,
    RoundState,
    TrainingResult,
    Waiting,
)
from support.campaigns import write_campaign
from support.world import World

RANKS: dict[str, Any] = {"acquisition__scorer": "head", "stopping__max_rounds": 4}


class KilledError(BaseException):
    """Stands for a process that ends at once."""


class Slow:
    """A ``Background`` that has finished a part of its work whenever ``is_ready`` says so."""

    def __init__(self, parts: LeasedParts, is_ready: Callable[[], bool]) -> None:
        self._parts, self._is_ready = parts, is_ready
        self._left: Iterator[TrainingResult] | None = None
        self.started: list[int] = []

    @property
    def busy(self) -> bool:
        return self._left is not None

    def start(self, round_: Round) -> None:
        assert self._left is None, "one at a time"
        self.started.append(round_.index)
        self._left = train_and_measure(self._parts, round_)

    def results(self, *, wait: bool) -> Iterator[TrainingResult]:
        while self._left is not None and (wait or self._is_ready()):
            try:
                found = next(self._left, None)
            except ModelError:
                self._left = None
                raise
            if found is None:
                self._left = None
            else:
                yield found

    def in_words(self) -> str:
        return "training"


class Absent:
    """People who answer all that is open when ``answer`` is called."""

    place = None

    def __init__(self, parts: LeasedParts) -> None:
        self._oracle = parts.annotator
        self._open: list[Query] = []
        self._answered: set[str] = set()

    def ensure(
        self, queries: Sequence[Query], known: Sequence[ExternalTask], still_ours: StillOurs
    ) -> Ensured:
        self._open = list(queries)
        return self._oracle.ensure(queries, known, still_ours)

    def poll(self, cursor: str | None, still_ours: StillOurs) -> Poll:
        found = self._oracle.poll(None, still_ours)
        return replace(
            found, annotations=tuple(one for one in found.annotations if one.query_id in self._answered)
        )

    def withdraw(self, queries: Sequence[Query], still_ours: StillOurs) -> tuple[str, ...]:
        return self._oracle.withdraw(queries, still_ours)

    def answer(self) -> None:
        self._answered |= {query.query_id for query in self._open}


def never() -> bool:
    return False


def now_and_then(seed: int) -> Callable[[], bool]:
    chance = random.Random(seed)
    return lambda: chance.random() < 0.4


def run(world: World, is_ready: Callable[[], bool] = never, **changes: Any) -> tuple[Outcome, Slow]:
    parts = replace(world.leased_parts(), **changes)
    background = Slow(parts, is_ready)
    return Loop(replace(parts, background=background)).run(), background


def rounds(world: World) -> list[Round]:
    return world.store.rounds(world.campaign_id)


def steps(world: World) -> list[tuple[int | None, str]]:
    return [(one.round_index, one.step) for one in world.store.events(world.campaign_id)]


def assert_same(one: World, other: World) -> None:
    """The same questions, adapters and metrics; when they were made does not matter."""
    assert one.asked() == other.asked()
    for left, right in zip(rounds(one), rounds(other), strict=True):
        for name in ("state", "config", "fit", "evaluation", "decision", "selection", "collection"):
            assert getattr(left, name) == getattr(right, name), (left.index, name)
        found = [each.store.evaluations(each.campaign_id, left.index) for each in (one, other)]
        assert found[0] == found[1]
        kept = [each.store.held_out(each.campaign_id, left.index) for each in (one, other)]
        assert [(x.model, x.item_id) for x in kept[0]] == [(x.model, x.item_id) for x in kept[1]]


@pytest.mark.parametrize(
    ("train", "is_ready"),
    [("each_round", never), ("each_round", now_and_then(0)), ([5, 9], now_and_then(1)), ("at_end", never)],
)
def test_the_questions_do_not_wait_and_the_outcome_is_the_same(
    tmp_path: Path, train: object, is_ready: Callable[[], bool]
) -> None:
    changes = {**RANKS, "learner": {"kind": "lora", "train": train}}
    in_turn, beside = World(tmp_path / "in_turn", **changes), World(tmp_path / "beside", **changes)
    in_turn.run()
    outcome, background = run(beside, is_ready)
    assert outcome.kind == "stopped"
    assert_same(in_turn, beside)
    assert background.started == [one.index for one in rounds(in_turn) if one.adapter_sha256]


def test_the_next_questions_are_out_before_the_training_is_done(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS)
    run(world)
    order = steps(world)
    assert order.index((4, "decide")) < order.index((1, "train")) < order.index((1, "measure"))
    trained = [index for index, step in order if step == "train"]
    assert trained == [1, 2, 3, 4], "one after the other, in order"


def test_training_that_ends_while_people_answer_is_stored_then(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS)
    parts = world.leased_parts()
    people = Absent(parts)
    shown: list[Waiting] = []

    def wait(waiting: Waiting) -> bool:
        shown.append(waiting)
        if len(shown) % 5 == 0:
            people.answer()
        return True

    outcome, _ = run(world, lambda: len(shown) % 5 == 3, annotator=people, wait=wait)
    assert outcome.kind == "stopped"
    order = steps(world)
    assert order.index((1, "push")) < order.index((1, "train")) < order.index((1, "collect"))
    assert {each.beside for each in shown} == {None, "training"}
    assert all(one.adapter_sha256 for one in rounds(world)[1:])


def test_killed_before_any_commit_it_ends_the_same(tmp_path: Path) -> None:
    unbroken, broken = World(tmp_path / "unbroken", **RANKS), World(tmp_path / "broken", **RANKS)
    unbroken.run()
    commit, calls, kills = broken.store.commit_step, itertools.count(), 0

    def die_at_the_second(*args: Any, **kwargs: Any) -> None:
        if next(calls) % 2:
            raise KilledError
        commit(*args, **kwargs)

    broken.store.commit_step = die_at_the_second  # type: ignore[method-assign]
    while True:
        try:
            run(broken, now_and_then(kills))
            break
        except KilledError:
            kills += 1
            assert kills < 100, "no progress"
    assert kills > 10
    assert_same(unbroken, broken)


def test_training_that_fails_stops_no_question_and_ends_the_run_with_its_error(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS)
    fit = world.learner.fit

    def fail(*args: Any, **kwargs: Any) -> str:
        raise ModelError("out of memory.")

    world.learner.fit = fail  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="out of memory"):
        run(world, lambda: True)
    assert rounds(world)[-1].state is RoundState.STOPPED and len(rounds(world)) == 5
    assert len(world.store.labels(world.campaign_id)) > 4 * 4
    told = [said for said in world.progress.said if "could not be trained: out of memory." in said]
    assert len(told) == 1
    assert not any(one.adapter_sha256 for one in rounds(world))
    world.learner.fit = fit  # type: ignore[method-assign]
    assert run(world)[0].kind == "stopped"
    assert all(one.adapter_sha256 for one in rounds(world)[1:])


def test_a_run_that_does_not_wait_for_people_tells_what_failed(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS, learner={"kind": "lora", "train": [4]})
    people = Absent(world.leased_parts())
    for _ in range(2):  # the held-out texts, and those of round 0
        assert run(world, annotator=people)[0].kind == "waiting"
        people.answer()

    def fail(*args: Any, **kwargs: Any) -> str:
        raise ModelError("out of memory.")

    world.learner.fit = fail  # type: ignore[method-assign]
    with pytest.raises(ModelError):
        run(world, lambda: True, annotator=people)
    assert rounds(world)[-1].index == 1 and rounds(world)[-1].state is RoundState.PUSHED


def test_a_round_whose_labels_were_others_is_not_trained_any_more(tmp_path: Path) -> None:
    world = World(tmp_path, **RANKS)
    people = Absent(world.leased_parts())
    for _ in range(2):  # the held-out texts, and those of round 0
        run(world, annotator=people)
        people.answer()
    run(world, annotator=people)
    assert rounds(world)[-1].index == 1 and not rounds(world)[1].adapter_sha256
    task = world.file.spec.task
    labels = [*(label.name for label in task.labels), "weather"]
    world.file = load_campaign(write_campaign(tmp_path, **RANKS, task__labels=labels))
    world.learner.task = world.head.task = closed(make_task(world.file.spec.task))
    people.answer()
    run(world, annotator=people)
    assert rounds(world)[-1].index == 2
    assert not rounds(world)[1].adapter_sha256


def test_the_batch_that_was_measured_in_the_background_is_kept_with_the_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, **RANKS)
    before, fit = world.learner.versions(), world.learner.fit
    loaded: list[bool] = []

    def load_and_fit(*args: Any, **kwargs: Any) -> str:
        loaded.append(True)
        return fit(*args, **kwargs)

    def versions() -> JsonObject:
        return {**before, "batch_tokens": 768} if loaded else before

    monkeypatch.setattr(world.learner, "fit", load_and_fit)
    monkeypatch.setattr(world.learner, "versions", versions)
    world.run()
    trained = [each for each in world.store.rounds(world.campaign_id) if each.adapter_sha256]
    assert trained and all(each.fit and each.fit.versions["batch_tokens"] == 768 for each in trained)
