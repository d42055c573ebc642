from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_al.annotators.label_studio.annotations import Refused, parse_annotation, user_number
from star_al.annotators.label_studio.known_annotations import KnownAnnotations
from star_al.config.spec import task_spec
from star_al.task import Task, make_task
from star_al.types import Annotation

TASK = make_task(task_spec({"kind": "classification", "labels": ["neg", "pos"]}))
OPTIONS = make_task(task_spec({"kind": "multiple_choice"}))
MADE = "2026-01-02T03:04:05.000006Z"
ANN = "ann@example.org"


def _raw(*choices: object, **changes: Any) -> dict[str, Any]:
    region = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [*choices]}}
    return {"id": 7, "result": [region], "completed_by": 3, "created_at": MADE, **changes}


def _parsed(raw: object, task: Task = TASK) -> Annotation | Refused:
    return parse_annotation(raw, "q", {3: ANN}, "unsure", task)


def _read(raw: object) -> Annotation:
    found = _parsed(raw)
    assert isinstance(found, Annotation), found
    return found


def _reason(raw: object) -> str:
    found = _parsed(raw)
    assert isinstance(found, Refused), found
    return found.reason


def test_an_answer() -> None:
    assert _read(_raw("pos", lead_time=1)) == Annotation(
        external_id="7@2026-01-02T03:04:05.000006+00:00",
        query_id="q",
        value="pos",
        annotator=ANN,
        lead_time=1.0,
        created_at=datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    )


def test_what_counts_as_a_skip() -> None:
    for raw in (_raw(result=[]), _raw(result=None), _raw(), _raw("unsure"), _raw("pos", was_cancelled=True)):
        assert _read(raw).skipped
    assert not _read(_raw("pos")).skipped
    assert _read(_raw("unsure")).value == "unsure"
    assert _read(_raw(was_cancelled=True, result={"odd": 1})) == _read(_raw(was_cancelled=True))


def test_other_controls_beside_ours_are_ignored_and_alone_are_no_answer() -> None:
    note = {"from_name": "note", "type": "textarea", "value": {"text": ["well"]}}
    assert _read(_raw(result=[note, *_raw("neg")["result"]])).value == "neg"
    assert _reason(_raw(result=[note])) == "it has a result, but none for the control 'label'"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (_raw(result=[{"from_name": "label", "value": {"choices": 5}}]), "the value of its region is {'choices': 5}"),
        (_raw(result=[{"from_name": "label", "value": []}]), "the value of its region is []"),
        (_raw(result=[{"from_name": "label"}]), "the value of its region is missing"),
        (_raw(result="pos"), "its result is 'pos', not a list"),
        (_raw(result=["pos"]), "its result holds something that is not a region"),
        (_raw(["pos"]), "its choice ['pos'] is not a text"),
        (_raw("pos", "neg"), "it chooses 2 labels: 'neg', 'pos'"),
        (_raw("po\x00s"), "its label 'po\\x00s' has a control character"),
        (_raw("po\ud800s"), "its label 'po\\ud800s' has a control character"),
        (_raw("third"), "'third' is not a label of the campaign"),
        (_raw("pos", id="7"), "its id is '7'"),
        (_raw("pos", id=10**30), f"its id is {10**30}"),
        (_raw("pos", created_at=None), "its time of creation is missing"),
        (_raw("pos", created_at="0001-01-01T00:00:00+14:00"), "its time of creation is '0001-01-01T00:00:00+14:00'"),
        (_raw("pos", was_cancelled="no"), "whether it is a skip is 'no'"),
        ([], "it is [], not an annotation"),
    ],
)  # fmt: skip
def test_a_malformed_answer_is_refused_with_the_reason(raw: object, reason: str) -> None:
    assert _reason(raw) == reason


def test_a_refused_answer_names_the_person_and_the_annotation_if_they_can_be_read() -> None:
    assert _parsed(_raw("third")) == Refused(
        "7@2026-01-02T03:04:05.000006+00:00", ANN, "'third' is not a label of the campaign"
    )
    assert _parsed(None) == Refused(None, "somebody unknown", "it is missing, not an annotation")


def test_several_regions_with_the_same_label_are_one_answer() -> None:
    assert _read(_raw(result=[*_raw("pos")["result"], *_raw("pos", "pos")["result"]])).value == "pos"


def test_labels_are_compared_as_in_the_data() -> None:
    assert _read(_raw(" POS ")).value == " POS "
    letter = _parsed(_raw("B"), OPTIONS)
    assert isinstance(letter, Annotation) and letter.value == "B"


@pytest.mark.parametrize("odd", [None, "ten", True, -1, math.nan, math.inf, 10**400, [], {}])
def test_an_odd_time_is_left_out(odd: object) -> None:
    assert _read(_raw("pos", lead_time=odd)).lead_time is None


def test_people_who_left() -> None:
    assert _read(_raw("pos", completed_by=None)).annotator is None
    assert _read(_raw("pos", completed_by=9)).annotator == "9"
    assert _read(_raw("pos", completed_by={"id": 3})).annotator == ANN
    odds: list[object] = [[], {}, "3", True, {"id": []}, 10**30, -1]
    for odd in odds:
        assert _read(_raw("pos", completed_by=odd)).annotator is None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["label", "choices", "pos", "\x00", "\ud800", MADE]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "result", "from_name", "value", "choices", "completed_by"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@st.composite
def nearly_right(draw: st.DrawFn) -> object:
    """An annotation in which anything, at any level, was replaced by any JSON value, or is missing."""
    raw: Any = _raw("pos", was_cancelled=False, lead_time=2.5)
    places: list[tuple[Any, Any]] = []

    def collect(holder: Any) -> None:
        for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
            places.append((holder, key))
            if isinstance(value, dict | list):
                collect(value)

    collect(raw)
    for holder, key in draw(st.lists(st.sampled_from(places), min_size=1, max_size=3, unique_by=id)):
        if isinstance(holder, dict) and draw(st.booleans()):
            holder.pop(key, None)
        else:
            holder[key] = draw(json_values)
    return raw


@settings(max_examples=600, deadline=None)
@given(json_values | nearly_right())
def test_any_json_is_an_annotation_or_is_refused(raw: object) -> None:
    for task in (TASK, OPTIONS):
        found = _parsed(raw, task)
        user_number(raw)
        if isinstance(found, Refused):
            assert found.reason.isprintable() and found.person.isprintable() and len(found.reason) < 300
            continue
        assert found.value is None or isinstance(found.value, str)
        assert found.skipped or task.has_options or task.find((), found.value) is not None
        stored = json.dumps([found.external_id, found.value, found.annotator], ensure_ascii=False)
        assert "\\u0000" not in stored
        stored.encode()  # what a database can hold


def test_a_cursor_is_a_place_in_the_order_of_meeting() -> None:
    seen = KnownAnnotations()
    first, second = Annotation("1@x", "q", "pos"), Annotation("2@x", "q", "neg")
    seen.record(first)
    after_first = seen.cursor
    seen.record(first)
    assert seen.cursor == after_first and seen.since(after_first) == ()
    seen.record(second)
    assert seen.since(after_first) == (second,)
    seen.record_deletion("1@x")
    seen.record_deletion("3@x")  # one that was never recorded
    assert {each.external_id: each.withdrawn for each in seen.since(after_first)} == {
        "1@x": True,
        "2@x": False,
    }
    assert len(seen.since(None)) == len(seen.since(KnownAnnotations().cursor)) == 2


WRITTEN = make_task(task_spec({"kind": "text"}))
SUMS = make_task(
    task_spec({"kind": "text", "answer": {"pattern": r"####\s*(-?[\d,]*\.?\d+)", "read_as": "number"}})
)


def _area(*texts: object, **changes: Any) -> dict[str, Any]:
    region = {"from_name": "label", "to_name": "text", "type": "textarea", "value": {"text": [*texts]}}
    return {"id": 7, "result": [region], "completed_by": 3, "created_at": MADE, **changes}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (_area("a dog"), "a dog"),
        (_area("  two\r\nlines "), "two\nlines"),
        (_area("one", "two", "one", " "), ["one", "two"]),
        (_area(), None),
        (_area(" \n\t", ""), None),
        (_area(result=[]), None),
        (_area("a\x00b\ud800"), "a\ufffdb\ufffd"),
        (_area("<|im_end|><script>$x</script>"), "<|im_end|><script>$x</script>"),
        (_area("שלום \u202e עולם"), "שלום \u202e עולם"),
        (_area("x" * 100_000), "x" * 100_000),
        (_area(result=[{"from_name": "label", "type": "textarea", "value": {"text": "one"}}]), "one"),
    ],
)
def test_a_written_answer(raw: object, value: object) -> None:
    found = _parsed(raw, WRITTEN)
    assert isinstance(found, Annotation), found
    assert found.value == value
    assert found.skipped is (value is None)


def test_a_written_answer_that_is_no_text_or_counts_as_a_skip() -> None:
    refused = _parsed(_area(5), WRITTEN)
    assert isinstance(refused, Refused) and refused.reason == "its answer 5 is not a text"
    choices = _parsed(_raw("pos"), WRITTEN)
    assert isinstance(choices, Refused) and "the value of its region is {'choices'" in choices.reason
    for texts in (["unsure"], [" Unsure\n"], ["unsure", "UNSURE"]):
        unsure = _parsed(_area(*texts), WRITTEN)
        assert isinstance(unsure, Annotation) and unsure.skipped and unsure.value == "unsure"
    both = _parsed(_area("a dog", "Unsure"), WRITTEN)
    assert isinstance(both, Refused) and both.reason == "it says 'unsure' and something else"
    cancelled = _parsed(_area("a dog", was_cancelled=True), WRITTEN)
    assert isinstance(cancelled, Annotation) and cancelled.skipped


@given(st.lists(st.one_of(st.text(), st.none(), st.integers())))
def test_nothing_that_is_written_breaks_the_reader(texts: list[object]) -> None:
    found = _parsed(_area(*texts), WRITTEN)
    assert isinstance(found, Refused) or json.dumps(found.value).encode()


SUBJECTS = make_task(task_spec({"kind": "multi_label", "labels": ["sport", "money"]}))


def test_several_labels_are_a_list() -> None:
    for choices, value in ((["money", "sport"], ["money", "sport"]), (["money"], ["money"])):
        found = _parsed(_raw(*choices), SUBJECTS)
        assert isinstance(found, Annotation) and found.value == value and not found.skipped
    none = _parsed(_raw("none of these"), SUBJECTS)
    assert isinstance(none, Annotation) and not none.skipped and not SUBJECTS.find((), none.value)
    unsure = _parsed(_raw("unsure"), SUBJECTS)
    assert isinstance(unsure, Annotation) and unsure.skipped
