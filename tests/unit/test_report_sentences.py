"""What the report page says in sentences about people's answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from star_al.config.spec import task_spec
from star_al.report.page import campaign_page
from star_al.report.sentences import about_answers
from support.report_snapshot import a_snapshot


@pytest.mark.parametrize("ties", ["drop", "half"])
def test_ties_are_counted_and_what_is_learned_from_them(ties: str) -> None:
    before = a_snapshot()
    labelled = [each for each in before.asked if each.label is not None]
    asked = [
        replace(each, label=replace(each.label, value="tie" if n < 2 else "A"))
        for n, each in enumerate(labelled)
        if each.label is not None
    ]
    spec = before.spec.model_copy(update={"task": task_spec({"kind": "preference", "ties": ties})})
    snapshot = replace(before, spec=spec, asked=tuple(asked))
    (sentence,) = about_answers(snapshot)
    assert sentence.startswith(f"2 of {len(asked)} labels (") and "are ties: neither completion" in sentence
    assert ("learns nothing" in sentence) == (ties == "drop")
    assert about_answers(replace(before, asked=tuple(asked))) == []  # a label may be called so


def test_effort_with_drafts_is_on_the_page() -> None:
    page = campaign_page(replace(a_snapshot(), effort="3 of 5 drafts kept, 20% of the others edited"))
    assert "Drafts: 3 of 5 drafts kept, 20% of the others edited. This says" in page
