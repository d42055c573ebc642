"""People write answers into a text area, with and without a draft, and what of it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from star_al.config.spec import task_spec
from star_al.types import Query
from support.browser import LabellingPage, chromium
from support.label_studio_campaign import World, queries
from support.label_studio_server import LabelStudio

WRITTEN = task_spec({"kind": "text"})
BERT, PASSWORD = "bert@example.org", "a good password"
RTL = "שלום \u202e עולם"
MARKERS = "<|im_end|><|im_start|>assistant <script>window.ran = 1</script> $text {{text}}"


def drafted(asked: list[Query], *drafts: str | None) -> list[Query]:
    """The queries with these predictions."""
    return [
        replace(query, reason=replace(query.reason, predicted=draft))
        for query, draft in zip(asked, drafts, strict=True)
    ]


def submit(world: World, query: Query, *texts: str, **more: Any) -> None:
    region = {"from_name": "label", "to_name": "text", "type": "textarea", "value": {"text": [*texts]}}
    path = f"/api/tasks/{world.task_of(query)}/annotations/"
    world.owner.call("post", path, json={"result": [region], "lead_time": 1.0, **more})


def test_answers_arrive_as_they_were_written(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio, WRITTEN), drafted(queries(6), *[None] * 6)
    world.ensure(asked)
    long = "a word and " * 9_000
    given = [["a dog"], [" \n"], [RTL], [MARKERS], [long], ["one", "two"]]
    for query, texts in zip(asked, given, strict=True):
        submit(world, query, *texts)
    found = {each.query_id: each for each in world.poll().annotations}
    values = [found[query.query_id].value for query in asked]
    assert values == ["a dog", None, RTL, MARKERS, long.strip(), ["one", "two"]]
    assert [found[query.query_id].skipped for query in asked] == [False, True, False, False, False, False]


@pytest.fixture
def page(label_studio: LabelStudio) -> Iterator[LabellingPage]:
    label_studio.new_user(BERT, PASSWORD)
    with chromium() as browser:
        page = LabellingPage(browser, label_studio.url)
        page.log_in(BERT, PASSWORD)
        yield page


@pytest.mark.browser
def test_people_write_keep_and_edit_answers(label_studio: LabelStudio, page: LabellingPage) -> None:
    world = World(label_studio, WRITTEN, show_prediction=True)
    asked = drafted(queries(4), None, "a draft to keep", f"a draft {MARKERS}", None)
    world.ensure(asked)
    page.page.goto(f"{label_studio.url}/projects/{world.project}/data")
    page.page.get_by_role("button", name="Label All Tasks").click()
    area = page.page.locator(".star-al textarea").first
    area.wait_for()
    area.fill("what Bert wrote\nin two lines")
    page.submit()
    assert "a draft to keep" in shown(page)
    page.submit()
    assert MARKERS in shown(page)
    edit(page, "what Bert made of it")
    page.submit()
    area.wait_for()
    area.fill("   ")
    page.skip()
    values = {each.query_id: each.value for each in world.poll().annotations}
    expected = ["what Bert wrote\nin two lines", "a draft to keep", "what Bert made of it", None]
    assert [values[query.query_id] for query in asked] == expected
    assert page.page.evaluate("window.ran") is None
    assert page.complaints == []


def shown(page: LabellingPage) -> str:
    """The answer that the page holds."""
    page.page.wait_for_timeout(500)
    return page.page.locator(".star-al").inner_text()


def edit(page: LabellingPage, text: str) -> None:
    """Open the answer that the page holds and write another one in its place."""
    page.page.get_by_test_id("htx-textbox-edit-button").click()
    field = page.page.locator(".star-al textarea").last
    field.fill(text)
    field.press("Shift+Enter")
    page.page.locator(".star-al").get_by_text(text, exact=True).wait_for()
