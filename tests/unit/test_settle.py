"""Settling queries: votes, skips, ties, revisions, further attempts, and unreadable answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_al.config.spec import ClassificationSpec, LabellingSpec
from star_al.labelling.ballots import Refused, ballots_of
from star_al.labelling.settle import Settled, settle
from star_al.task import Task, make_task
from star_al.types import Annotation, JsonValue, Query, Reason, Role

TASK = make_task(ClassificationSpec(kind="classification", labels=("red", "green", "blue")))
START = datetime(2026, 1, 1, tzinfo=UTC)


def query(wanted: int = 1, attempt: int = 1, item: str = "i") -> Query:
    return Query(
        f"{item}-{attempt}",
        item,
        3,
        Role.POOL,
        1,
        Reason("why"),
        attempt=attempt,
        wanted=wanted,
    )


def answer(person: str, value: str | None, number: int, of: str = "i-1", **more: Any) -> Annotation:
    """Return annotation ``number``, made ``number`` minutes after the start; without a value it is a skip."""
    return Annotation(
        str(number),
        of,
        value,
        skipped=value is None,
        annotator=person,
        created_at=START + timedelta(minutes=number),
        **more,
    )


def result(asked: Query, answers: list[Annotation], *earlier: Query, **rules: Any) -> JsonValue:
    """Return the outcome of a query: its label's value, "skipped", "disputed" or "open"."""
    return _of(settled([asked], answers, *earlier, **rules), asked)


def settled(
    asked: list[Query], answers: list[Annotation], *others: Query, task: Task = TASK, **rules: Any
) -> Settled:
    """How queries end; the answers to ``others`` count, too."""
    return settle(asked, ballots_of([*asked, *others], answers, {}, task), LabellingSpec(**rules), task)


def _of(ended: Settled, asked: Query) -> JsonValue:
    labels = dict(ended.labels)
    if asked.query_id in labels:
        return labels[asked.query_id].value
    if asked in ended.skipped:
        return "skipped"
    return "disputed" if asked in ended.disputed else "open"


def test_one_answer_settles_a_query_that_wants_one() -> None:
    assert result(query(), []) == "open"
    assert result(query(), [answer("ann", "red", 1)]) == "red"
    assert result(query(), [answer("ann", " RED ", 1)]) == "red"  # in the task's spelling


def test_the_label_carries_item_and_round() -> None:
    ((query_id, label),) = settled([query()], [answer("ann", "red", 1)]).labels
    assert (query_id, label.item_id, label.round_index) == ("i-1", "i", 3)


def test_of_two_answers_where_one_was_wanted_the_first_person_counts() -> None:
    answers = [answer("bo", "green", 2), answer("ann", "red", 1)]
    assert result(query(), answers) == "red"
    assert (
        result(query(), [*answers, answer("cy", "green", 3)]) == "green"
    )  # a majority outweighs being first


def test_numbers_of_annotations_are_ordered_by_time_not_as_text() -> None:
    assert result(query(), [answer("bo", "green", 10), answer("ann", "red", 9)]) == "red"


def test_a_person_has_one_vote_the_newest() -> None:
    assert result(query(), [answer("ann", "red", 1), answer("ann", "green", 2)]) == "green"
    two = [answer("ann", "red", 1), answer("ann", "red", 2)]
    assert result(query(wanted=2), two, overlap=2) == "open"


def test_the_newest_revision_counts() -> None:
    revisions = [answer("ann", "red", 1), replace(answer("ann", "blue", 1), revision=2)]
    assert result(query(), revisions) == "blue"
    assert result(query(), revisions[::-1]) == "blue"


def test_a_withdrawn_answer_counts_only_where_nobody_else_answered() -> None:
    withdrawn = replace(answer("ann", "red", 1), revision=2, withdrawn=True)
    assert result(query(), [answer("ann", "red", 1), withdrawn]) == "red"
    assert result(query(), [answer("ann", "red", 1), withdrawn, answer("bo", "blue", 2)]) == "blue"


def test_overlap_waits_for_its_people_and_takes_the_majority() -> None:
    asked = query(wanted=3)
    two = [answer("ann", "red", 1), answer("bo", "blue", 2)]
    assert result(asked, two, overlap=3) == "open"
    assert result(asked, [*two, answer("cy", "blue", 3)], overlap=3) == "blue"
    assert result(asked, [*two, answer("cy", "green", 3)], overlap=3) == "disputed"


def test_skips_stand_for_answers_unless_another_person_is_to_be_asked() -> None:
    assert result(query(), [answer("ann", None, 1)]) == "skipped"
    assert result(query(wanted=2), [answer("ann", None, 1)]) == "open"
    assert result(query(wanted=2), [answer("ann", None, 1), answer("bo", "red", 2)]) == "red"
    assert result(query(wanted=2), [answer("ann", None, 1), answer("bo", None, 2)]) == "skipped"
    skip = [answer("ann", None, 1)]
    assert result(query(), skip, skipped="ask_another") == "open"
    assert result(query(), [*skip, answer("bo", "red", 2)], skipped="ask_another") == "red"
    skips = [answer(person, None, number) for number, person in enumerate(("ann", "bo", "cy"))]
    assert result(query(), skips, skipped="ask_another", max_attempts=3) == "skipped"


def test_a_person_who_skipped_and_then_answered_has_answered() -> None:
    assert result(query(), [answer("ann", None, 1), answer("ann", "red", 2)]) == "red"


def test_another_opinion_joins_the_earlier_ones_and_waits_for_its_own_answer() -> None:
    first, second = query(wanted=2), query(attempt=2)
    split = [answer("ann", "red", 1), answer("bo", "blue", 2)]
    assert result(second, split, first) == "open"
    assert result(second, [*split, answer("cy", "blue", 3, of="i-2")], first) == "blue"
    assert result(second, [*split, answer("cy", "green", 3, of="i-2")], first) == "disputed"
    assert (
        result(second, [*split, answer("ann", "blue", 3, of="i-2")], first) == "blue"
    )  # thought better of it


def test_asking_again_counts_the_new_answers_alone() -> None:
    first, second = query(wanted=2), query(wanted=2, attempt=2)
    answers = [
        answer("ann", "red", 1),
        answer("bo", "blue", 2),
        answer("ann", "green", 3, of="i-2"),
        answer("bo", "green", 4, of="i-2"),
    ]
    assert result(second, answers, first, disputed="ask_again", overlap=2) == "green"


def test_a_person_who_answered_and_then_skipped_has_skipped() -> None:
    assert result(query(), [answer("ann", "red", 1), answer("ann", None, 2)]) == "skipped"


def test_an_answer_that_is_no_label_is_told_and_counts_as_a_skip() -> None:
    ended = settled([query()], [answer("ann", "mauve", 1)])
    assert ended.skipped == (query(),) and not (ended.labels or ended.disputed)
    assert result(query(), [answer("ann", "mauve", 1)], skipped="ask_another") == "open"
    assert ended.refused == (Refused("1", "ann", "i", "mauve"),)
    grown = make_task(ClassificationSpec(kind="classification", labels=("red", "green", "blue", "mauve")))
    assert dict(settled([query()], [answer("ann", "mauve", 1)], task=grown).labels)


def test_dawid_skene_judges_people_by_the_whole_campaign() -> None:
    earlier, answers = [], []
    for n in range(30):
        truth = ("red", "green", "blue")[n % 3]
        wrong = ("green", "blue", "red")[n % 3]
        earlier.append(query(wanted=3, item=f"e{n}"))
        answers += [
            answer(person, value, 3 * n + position, of=f"e{n}-1")
            for position, (person, value) in enumerate((("ann", truth), ("bo", truth), ("cy", wrong)))
        ]
    split = [answer("cy", "blue", 900), answer("ann", "green", 901)]
    asked = query(wanted=2)
    assert result(asked, [*answers, *split], *earlier, settle="dawid_skene", overlap=2) == "green"
    assert result(asked, [*answers, *split], *earlier, settle="majority", overlap=2) == "disputed"
    assert result(asked, split, settle="dawid_skene", overlap=2) == "disputed"  # nothing known of either


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["red", "green", "blue", None])), max_size=8),
    st.integers(1, 3),
    st.randoms(),
)
def test_the_order_in_which_answers_arrive_does_not_matter(
    given_answers: list[tuple[str, str | None]], wanted: int, random: Any
) -> None:
    answers = [answer(person, value, number) for number, (person, value) in enumerate(given_answers)]
    shuffled = random.sample(answers, len(answers))
    assert result(query(wanted=wanted), answers) == result(query(wanted=wanted), shuffled)


@pytest.mark.parametrize("rule", ["drop", "ask_again", "ask_another"])
def test_only_the_queries_given_are_settled(rule: str) -> None:
    other = query(item="o")
    answers = [answer("ann", "red", 1), answer("ann", "blue", 2, of="o-1")]
    ended = settled([query()], answers, other, disputed=rule)
    assert [query_id for query_id, _ in ended.labels] == ["i-1"]
