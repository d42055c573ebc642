"""Answers to held-out texts on the report page: wrong beside right, the most confident first, nothing executed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from star_al.app.reporting import gather
from star_al.report.answers import side_by_side
from star_al.report.page import campaign_page
from star_al.report.snapshot import GradedAnswer
from support.campaigns import make_rows, write_campaign, write_jsonl
from support.world import World

HOSTILE = "<script>alert(1)</script> & “quotes”\u202e‮ <b>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, str]:
    """A campaign whose labels are hostile, and its page."""
    folder: Path = tmp_path_factory.mktemp("answers")
    spoken = {"sport": "sport", "business": HOSTILE, "tech": "tech"}
    write_jsonl(folder / "pool.jsonl", [{**row, "label": spoken[row["label"]]} for row in make_rows(60)])
    task = {"kind": "text"}
    world = World(
        write_campaign(folder, task=task, acquisition__measure="entropy", evaluation__size=16).parent
    )
    world.run()
    return world, campaign_page(gather(world.store, world.campaign))


def test_wrong_and_right_answers_stand_side_by_side(page: tuple[World, str]) -> None:
    world, html = page
    snapshot = gather(world.store, world.campaign)
    found = side_by_side(snapshot.answers)
    assert found is not None and found.n_wrong + found.n_right == 16 and found.n_wrong and found.n_right
    [last] = [one for one in world.store.evaluations(world.campaign_id, 3) if one.scaling == "temperature"][
        :1
    ]
    assert last.model == "adapted" and found.n_right / 16 == last.accuracy
    section = html.partition('<section id="confusion">')[2].partition("</section>")[0]
    assert f"<h3>Wrong: {found.n_wrong}" in section and f"<h3>Right: {found.n_right}" in section
    assert "macro-F1" not in section.lower() and "auroc" in html.lower()


def test_answers_are_escaped(page: tuple[World, str]) -> None:
    _, html = page
    assert "<script>alert" not in html
    section = html.partition('<section id="confusion">')[2].partition("</section>")[0]
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; “quotes”" in section


def test_the_most_confident_error_comes_first_and_long_answers_are_cut() -> None:
    answers = [
        GradedAnswer("t", "x" * 9999, "gold", confidence, right, 0.25)
        for confidence, right in ((0.2, False), (0.9, False), (0.5, True), (0.7, True))
    ]
    found = side_by_side(answers)
    assert found is not None and found.graded
    assert [re.sub(r"\D", "", row.confidence) for row in (*found.wrong, *found.right)] == [
        "90",
        "20",
        "70",
        "50",
    ]
    assert all(len(row.answer) <= 400 for row in found.wrong)
    assert side_by_side([]) is None
