"""The oracle's answer to an item does not depend on order, round, attempt or process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from star_al.annotators.oracle import Oracle
from star_al.config.spec import ClassificationSpec, MultipleChoiceSpec, OracleSpec, task_spec
from star_al.data.item_labels import OPTION_KEYS
from star_al.errors import DataError
from star_al.ports import Annotator
from star_al.task import make_task
from star_al.types import Annotation, Item, JsonValue, Query, Reason, Role

LABELS = ("a", "b", "c")
TASK = make_task(ClassificationSpec(kind="classification", labels=LABELS))


def nothing() -> None:
    """Lease check: the lease is held."""


def query(number: int, attempt: int = 1) -> Query:
    item_id = f"{number:032x}"
    return Query(f"q{number}-{attempt}", item_id, attempt, Role.POOL, number + 1, Reason(""), attempt)


def oracle(seed: int = 0, gold: JsonValue = "A", **spec: Any) -> Oracle:
    def load_items(item_ids: Sequence[str]) -> list[Item]:
        return [Item(item_id, f"text {item_id}", fields={"gold": gold}) for item_id in item_ids]

    return Oracle(OracleSpec(gold="gold", **spec), TASK, seed, load_items)


def answers(annotator: Annotator, queries: list[Query]) -> dict[str, Annotation]:
    tasks = annotator.ensure(queries, [], nothing).tasks
    assert [(task.query_id, task.annotator) for task in tasks] == [(q.query_id, "oracle") for q in queries]
    found = annotator.poll(None, nothing).annotations
    assert all(annotation.created_at is not None for annotation in found)
    return {annotation.query_id: replace(annotation, created_at=None) for annotation in found}


def test_it_answers_from_the_gold_column_in_canonical_form() -> None:
    [found] = answers(oracle(gold=" A "), [query(1)]).values()
    assert found == Annotation("oracle-q1-1", "q1-1", "a", annotator="oracle")


def test_ensuring_twice_makes_one_task_and_a_cursor_brings_only_what_is_new() -> None:
    annotator = oracle()
    annotator.ensure([query(1), query(2)], [], nothing)
    annotator.ensure([query(2), query(1)], [], nothing)
    first = annotator.poll(None, nothing)
    assert [a.query_id for a in first.annotations] == ["q1-1", "q2-1"]
    assert annotator.poll(first.cursor, nothing).annotations == ()
    annotator.ensure([query(1), query(3)], [], nothing)
    assert [a.query_id for a in annotator.poll(first.cursor, nothing).annotations] == ["q3-1"]
    assert len(annotator.poll(None, nothing).annotations) == 3


def test_a_cursor_of_an_earlier_process_hides_nothing() -> None:
    before = oracle()
    before.ensure([query(n) for n in range(5)], [], nothing)
    cursor = before.poll(None, nothing).cursor
    after = oracle()
    after.ensure([query(4)], [], nothing)
    assert [a.query_id for a in after.poll(cursor, nothing).annotations] == ["q4-1"]


def test_noise_belongs_to_the_item() -> None:
    queries = [query(n) for n in range(300)]
    spec: dict[str, Any] = {"accuracy": 0.5, "skips": 0.2}
    forwards, backwards = answers(oracle(**spec), queries), answers(oracle(**spec), queries[::-1])
    assert forwards == backwards
    other_seed = answers(oracle(seed=1, **spec), queries)
    assert [a.value for a in other_seed.values()] != [a.value for a in forwards.values()]


def test_another_attempt_and_another_place_are_answered_by_somebody_else() -> None:
    asked = [replace(query(n), wanted=2) for n in range(200)] + [query(n, attempt=2) for n in range(200)]
    annotator = oracle(accuracy=0.5)
    annotator.ensure(asked, [], nothing)
    found = annotator.poll(None, nothing).annotations
    assert len({annotation.external_id for annotation in found}) == 600
    by_person: dict[str | None, list[object]] = {}
    for annotation in found:
        by_person.setdefault(annotation.annotator, []).append(annotation.value)
    assert {person: len(values) for person, values in by_person.items()} == {
        "oracle": 200,
        "oracle-2": 200,
        "oracle-1.2": 200,
    }
    for one, other in combinations(by_person.values(), 2):
        same = sum(a == b for a, b in zip(one, other, strict=True))
        assert 40 < same < 120  # half right, else one of the two others at random: 0.375 agree


def test_its_rates_are_what_they_say_and_errors_are_spread_evenly() -> None:
    """On 4,000 items the bounds are five standard deviations wide."""
    found = answers(oracle(accuracy=0.7, skips=0.25), [query(n) for n in range(4000)])
    skipped = [a for a in found.values() if a.skipped]
    assert all(a.value is None for a in skipped)
    assert abs(len(skipped) - 1000) < 5 * 27.4
    counts = Counter(a.value for a in found.values() if not a.skipped)
    assert abs(counts["a"] / counts.total() - 0.7) < 5 * 0.0084
    assert abs(counts["b"] - counts["c"]) < 5 * counts.total() ** 0.5 * 0.3**0.5


def test_the_share_of_skips_leaves_the_answers_alone() -> None:
    queries = [query(n) for n in range(200)]
    without = answers(oracle(accuracy=0.5), queries)
    for annotation in answers(oracle(accuracy=0.5, skips=0.5), queries).values():
        assert annotation.skipped or annotation == without[annotation.query_id]


def test_extremes_are_exact() -> None:
    queries = [query(n) for n in range(50)]
    assert all(a.value == "a" for a in answers(oracle(accuracy=1.0), queries).values())
    assert all(a.value in ("b", "c") for a in answers(oracle(accuracy=0.0), queries).values())
    assert all(a.skipped for a in answers(oracle(skips=1.0), queries).values())


def test_multiple_choice_uses_the_items_own_options_and_keys() -> None:
    item = Item("x", "q", ("one", "two"), fields={"gold": 2, OPTION_KEYS: ["1", "2"]})
    task = make_task(MultipleChoiceSpec(kind="multiple_choice"))
    for accuracy, expected in ((1.0, "B"), (0.0, "A")):
        annotator = Oracle(OracleSpec(gold="gold", accuracy=accuracy), task, 0, lambda _: [item])
        annotator.ensure([Query("q", "x", 0, Role.POOL, 1, Reason(""))], [], nothing)
        assert annotator.poll(None, nothing).annotations[0].value == expected


@pytest.mark.parametrize("gold", [None, " ", "z"])
def test_an_unusable_gold_answer_is_refused(gold: JsonValue) -> None:
    annotator = oracle(gold=gold)
    annotator.ensure([query(1)], [], nothing)
    with pytest.raises(DataError, match=f"item {1:032x}"):
        annotator.poll(None, nothing)


OF_KINDS: dict[str, tuple[dict[str, Any], JsonValue]] = {
    "multi_label": ({"labels": LABELS}, ["a", "c"]),
    "words": ({"kind": "text"}, "a brown dog"),
    "word": ({"kind": "text", "metric": "chrf"}, "dog"),
    "long": ({"kind": "text", "metric": "rouge_l"}, " ".join(f"word{n}" for n in range(40))),
    "number": ({"kind": "text", "answer": {"read_as": "number"}}, "$1,000"),
    "solution": (
        {"kind": "text", "answer": {"pattern": r"#### (\S+)", "read_as": "number"}},
        "It is 3.\n#### 3",
    ),
}


@pytest.mark.parametrize("kind", OF_KINDS)
def test_people_err_in_tasks_of_every_kind(kind: str) -> None:
    settings, gold = OF_KINDS[kind]
    task = make_task(task_spec({"kind": kind, **settings}))
    items = [Item(f"{n:032x}", "text", fields={"gold": gold}) for n in range(200)]
    by_id = {item.item_id: item for item in items}
    spec = OracleSpec(gold="gold", accuracy=0.7)
    annotator = Oracle(spec, task, 0, lambda ids: [by_id[item_id] for item_id in ids])
    found = [one.value for one in answers(annotator, [query(n) for n in range(200)]).values()]
    assert all(task.parse(items[0], value) == value for value in found)
    wrong = [value for value in found if not task.same(items[0], task.answer(value), task.answer(gold))]
    assert {str(value) for value in found} - {str(value) for value in wrong} == {
        str(task.parse(items[0], gold))
    }
    assert 0.2 < len(wrong) / 200 < 0.4
