"""Drafts of written answers: what is sent to Label Studio, and what people did with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from star_al.annotators.label_studio import label_config
from star_al.annotators.label_studio.predictions import prediction
from star_al.config.spec import LabelStudioSpec, task_spec
from star_al.labelling.ballots import Ballot
from star_al.labelling.effort import Effort, effort_of
from star_al.task import make_task
from star_al.types import JsonValue, Query, Reason, Role

WRITTEN = make_task(task_spec({"kind": "text"}))
SUMS = make_task(
    task_spec({"kind": "text", "answer": {"pattern": r"####\s*(-?[\d,]*\.?\d+)", "read_as": "number"}})
)
PAGE = label_config.write(LabelStudioSpec(kind="label_studio"), WRITTEN, "key")


def query(predicted: JsonValue) -> Query:
    reason = Reason("why", blended=0.25, predicted=predicted, confidence=0.5)
    return Query("q", "i", 1, Role.POOL, 1, reason)


def sent(predicted: JsonValue, task: Any = WRITTEN, *, show: bool = True) -> Any:
    made = prediction(query(predicted), "v", PAGE, task, show=show)
    assert made is not None and made["score"] == 0.75
    return made["result"]


def test_a_draft_is_a_result_of_the_text_area() -> None:
    (region,) = sent("a dog")
    assert (region["type"], region["value"], region["score"]) == ("textarea", {"text": ["a dog"]}, 0.5)
    assert sent("a dog", show=False) == sent(None) == []


def test_a_draft_that_would_be_no_label_is_left_out() -> None:
    assert sent("72", SUMS) == []
    assert sent("so 72\n#### 72", SUMS)


def test_the_page_has_a_text_area() -> None:
    assert '<TextArea name="label" toName="text"' in PAGE and 'required="true"' in PAGE
    assert label_config.faults(PAGE, WRITTEN) == [] == label_config.remarks(PAGE, WRITTEN, None)
    page = label_config.write(LabelStudioSpec(kind="label_studio", unsure="no idea"), WRITTEN, "key")
    assert "If you cannot tell, write: no idea" in page


@pytest.mark.parametrize(
    ("control", "fault"),
    [
        ('<Choices name="label" toName="text"/>', 'its "label" is a Choices, not a TextArea'),
        ('<TextArea name="other" toName="text"/>', 'it has no TextArea with name="label"'),
        (
            '<TextArea name="label" toName="x"/>',
            'its TextArea belongs to "x", not to the text (toName="text")',
        ),
        (
            '<TextArea name="label" toName="text" perRegion="true"/>',
            'its TextArea asks once for each region, not once for each text (perRegion="false")',
        ),
    ],
)
def test_why_another_page_does_not_do(control: str, fault: str) -> None:
    page = f'<View><Text name="text" value="$text"/>{control}</View>'
    assert label_config.faults(page, WRITTEN) == [fault]


def test_a_page_that_lets_people_submit_nothing() -> None:
    page = '<View><Text name="text" value="$text"/><TextArea name="label" toName="text"/></View>'
    assert label_config.remarks(page, WRITTEN, None) == [
        'it lets people submit without an answer, which counts as a skip (required="true" prevents that)'
    ]


def test_effort_is_what_people_changed() -> None:
    kept = Ballot(query("abcd"), {"ann": "abcd", "bob": "abxd"}, frozenset(), ())
    new = Ballot(replace(query("abcd"), query_id="r"), {"ann": "uvwxyz12"}, frozenset(), ())
    without = Ballot(query(None), {"ann": "abcd"}, frozenset(), ())
    effort = effort_of([kept, new, without], WRITTEN)
    assert effort is not None and (effort.drafts, effort.kept) == (3, 1)
    assert effort.edited == pytest.approx((0.25 + 1) / 2)
    assert effort_of([without], WRITTEN) is None
    assert Effort(3, 1, 0.625).in_words() == "1 of 3 drafts kept, 62% of the others edited"
    assert Effort(1, 1, None).in_words() == "1 of 1 draft kept"
