"""Several people's written answers become one label, and their agreement is measured by a text distance."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_al.config.spec import LabellingSpec, task_spec
from star_al.labelling.ballots import ballots_of
from star_al.labelling.crowd import Vote, krippendorff_alpha
from star_al.labelling.settle import settle
from star_al.task import Task, make_task
from star_al.task.grouping import grouped
from star_al.types import Annotation, JsonValue, Query, Reason, Role

START = datetime(2026, 1, 1, tzinfo=UTC)


def text(**settings: Any) -> Task:
    return make_task(task_spec({"kind": "text", **settings}))


MATHS = text(answer={"pattern": r"####\s*(-?[\d,]*\.?\d+)", "read_as": "number"})
SUMMARY = text(metric="chrf", same_at=0.6)


def label_of(task: Task, answers: Sequence[str], role: Role = Role.POOL) -> JsonValue:
    """The label of a query that these people answered; "disputed" or "skipped" without one."""
    query = Query("q", "i", 3, role, 1, Reason("why"), wanted=len(answers))
    given = [
        Annotation(str(n), "q", value, annotator=f"p{n}", created_at=START + timedelta(minutes=n))
        for n, value in enumerate(answers)
    ]
    ended = settle([query], ballots_of([query], given, {}, task), LabellingSpec(overlap=len(answers)), task)
    if ended.labels:
        return ended.labels[0][1].value
    return "disputed" if ended.disputed else "skipped"


SHORT, LONG, WRONG = "2 + 3 = 5\n#### 5", "First 2, then 3 more, so 2 + 3 = 5.\n#### 5.0", "2 · 3 = 6\n#### 6"


def test_labels_with_one_answer_count_together_and_the_most_typical_is_kept() -> None:
    assert label_of(MATHS, [SHORT, WRONG, LONG]) == SHORT
    middle = "First 2, so 2 + 3 = 5.\n#### 5"
    assert label_of(MATHS, [SHORT, LONG, WRONG, middle]) == middle


def test_without_a_majority_a_text_is_disputed() -> None:
    assert label_of(MATHS, [SHORT, WRONG]) == "disputed"
    assert label_of(SUMMARY, ["a red car", "two boats", "rain in May"]) == "disputed"


def test_an_answer_without_a_number_does_not_count() -> None:
    assert label_of(MATHS, ["I do not know", "no idea"]) == "skipped"
    assert label_of(MATHS, ["I do not know", SHORT]) == SHORT


def test_similar_texts_count_together() -> None:
    first, second, third = "the red car stops", "the red cars stop", "seven boats at sea"
    assert label_of(SUMMARY, [third, first, second]) in (first, second)


def test_a_held_out_text_keeps_all_references() -> None:
    first, second, third = "the red car stops", "the red cars stop", "seven boats at sea"
    assert label_of(SUMMARY, [first, third, second], Role.AUDIT) == [first, second]
    assert label_of(SUMMARY, [first, first], Role.AUDIT) == first
    assert label_of(MATHS, [SHORT, LONG], Role.AUDIT) == SHORT


@given(st.permutations(range(7)))
def test_groups_do_not_depend_on_the_order(order: list[int]) -> None:
    values = [0, 1, 2, 10, 11, 20, 40]
    given = [values[place] for place in order]
    groups = grouped(given, lambda one, other: abs(one - other) <= 1)
    assert sorted(sorted(given[place] for place in group) for group in groups) == [
        [0, 1, 2],
        [10, 11],
        [20],
        [40],
    ]
    assert sorted(place for group in groups for place in group) == list(range(7))


def test_agreement_is_alpha_with_a_text_distance() -> None:
    units = [("the red car stops", "the red cars stop"), ("two boats", "some boats"), ("rain", "snow in May")]
    votes = [
        Vote(str(unit), str(who), value) for unit, row in enumerate(units) for who, value in enumerate(row)
    ]
    every = [value for row in units for value in row]
    observed = np.mean([SUMMARY.distance(a, b) for row in units for a, b in permutations(row, 2)])
    expected = np.mean([SUMMARY.distance(a, b) for a, b in permutations(every, 2)])
    found = krippendorff_alpha(votes, SUMMARY.distance)
    assert found == pytest.approx(1 - observed / expected)
    assert found is not None and found > (krippendorff_alpha(votes) or 0)


def test_the_distance_is_that_of_answers() -> None:
    assert MATHS.distance(SHORT, LONG) == 0.0
    assert MATHS.distance(SHORT, WRONG) == 1.0
    assert SUMMARY.distance("the red car stops", "the red cars stop") == 0.0
    assert 0 < SUMMARY.distance("two boats", "some more boats") < 1
    assert SUMMARY.distance("abc", "xyz") == 1.0
