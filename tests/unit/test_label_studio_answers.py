from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from star_al.annotators.label_studio.annotations import parse_annotation
from star_al.annotators.label_studio.known_annotations import KnownAnnotations
from star_al.types import Annotation


def _raw(*choices: str, **changes: Any) -> dict[str, Any]:
    region = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [*choices]}}
    made = "2026-01-02T03:04:05.000006Z"
    return {"id": 7, "result": [region], "completed_by": 3, "created_at": made, **changes}


def _read(raw: dict[str, Any]) -> Annotation:
    return parse_annotation(raw, "q", {3: "ann@example.org"}, "unsure")


def test_an_answer() -> None:
    assert _read(_raw("pos", lead_time=1)) == Annotation(
        external_id="7@2026-01-02T03:04:05.000006+00:00",
        query_id="q",
        value="pos",
        annotator="ann@example.org",
        lead_time=1.0,
        created_at=datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    )


def test_what_counts_as_a_skip() -> None:
    for raw in (_raw(result=[]), _raw(result=None), _raw(), _raw("unsure"), _raw("pos", was_cancelled=True)):
        assert _read(raw).skipped
    assert not _read(_raw("pos")).skipped
    assert _read(_raw("unsure")).value == "unsure"


def test_other_controls_are_not_ours() -> None:
    note = {"from_name": "note", "type": "textarea", "value": {"text": ["well"]}}
    assert _read(_raw(result=[note])).skipped
    assert _read(_raw(result=[note, *_raw("neg")["result"]])).value == "neg"


def test_people_who_left() -> None:
    assert _read(_raw("pos", completed_by=None)).annotator is None
    assert _read(_raw("pos", completed_by=9)).annotator == "9"
    assert _read(_raw("pos", completed_by={"id": 3})).annotator == "ann@example.org"


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
    assert {each.external_id: each.withdrawn for each in seen.since(after_first)} == {
        "1@x": True,
        "2@x": False,
    }
    assert len(seen.since(None)) == len(seen.since(KnownAnnotations().cursor)) == 2
