"""What annotators see and do in the browser, and what of it arrives in the database.

``STAR_AL_SCREENSHOT=docs/images/labelling.png`` saves the page of the first test, for the README.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from star_al.app import compose, running
from star_al.app.stores import open_store
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile, CampaignSpec
from star_al.ports import Learner, Progress
from star_al.task import make_task
from star_al.types import Annotation, JsonValue, Query, Round
from support.browser import LabellingPage, chromium
from support.campaigns import write_campaign, write_jsonl
from support.label_set_learner import learner_for
from support.label_studio_server import LabelStudio
from support.quiet import Quiet
from support.tiny_encoder import build_tiny_encoder

pytestmark = pytest.mark.browser

ANNA, PASSWORD = "anna@example.org", "a good password"
TOKEN = "STAR_AL_TEST_TOKEN"

NEWS = """Chip maker lifts forecast as orders for home robots surge

The chip maker Norvane has raised its forecast for the year after sales of its low-power processors rose by \
28% in the third quarter. Revenue reached £412m, against the £365m that analysts had expected.

Most of the growth came from makers of cleaning and garden robots, which bought the company's new vision chip in \
far larger numbers than planned. "Demand has outrun our suppliers," its chief executive said.

The shares closed 6% higher at $58.20 in London. Some investors warned that the boom may pass as quickly as it \
came: two years ago a similar rush for smart speakers ended with full warehouses."""
SCRIPTS = """<script>window.ran = 1; alert(1)</script><img src=x onerror="window.ran = 1">
&lt;b&gt; <b>bold</b> {{text}} ${text} $text costs $x "quoted" 'it's' 😀 é
\tindented   wide

https://other.example/page.txt"""
LONG = (
    "".join(f"{number} lines of a megabyte, {'<i>all</i> shown ' * 290}\n" for number in range(200))
    + "the end"
)
TEXTS = (NEWS, SCRIPTS, LONG, "A late goal wins the cup.", "https://other.example/<b>x</b>")

LABELS = ["business", "entertainment", "politics", "sport", "tech"]
ODD_LABELS = ["$text", '"quoted" <b>', "1st & last", "it's, well", "😀 glad", "back\\slash"]
QUESTION = "Which section of a newspaper would print this?"
UNSURE = "I cannot tell"
GUIDELINES = "Go by what the text is about, not by whom it quotes.\nTake the <b>main</b> subject & no other."


@pytest.fixture(scope="module")
def logged_in(label_studio: LabelStudio) -> Iterator[LabellingPage]:
    """Anna, who has signed up as a colleague of the server's owner."""
    label_studio.new_user(ANNA, PASSWORD)
    with chromium() as browser:
        page = LabellingPage(browser, label_studio.url)
        page.log_in(ANNA, PASSWORD)
        yield page


@pytest.fixture
def labelling(logged_in: LabellingPage) -> LabellingPage:
    logged_in.complaints.clear()
    return logged_in


@pytest.fixture
def campaign(
    label_studio: LabelStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Write a campaign that asks all rows at once, the most uncertain first; the NumPy learner is the default."""
    monkeypatch.setenv(TOKEN, label_studio.token)

    def write(rows: list[dict[str, Any]], *, annotator: dict[str, Any], **changes: Any) -> Path:
        write_jsonl(tmp_path / "pool.jsonl", rows)
        if "learner" not in changes:
            for module in (compose, running):
                monkeypatch.setattr(module, "open_learner", numpy_learner)
        people = {"kind": "label_studio", "url": label_studio.url, "token_env": TOKEN}
        return write_campaign(
            tmp_path,
            annotator=people | annotator,
            evaluation={"kind": "none", "calibration": 0},
            **{"acquisition": {"batch_size": len(rows), "cold_start": "base_uncertainty"}, **changes},
        )

    return write


def numpy_learner(
    file: CampaignFile, spec: CampaignSpec, rounds: list[Round], progress: Progress, **_: Any
) -> Learner:
    return learner_for(make_task(spec.task))


def run(path: Path) -> None:
    """`star-al run --no-wait`, while labels are missing."""
    assert running.run(load_campaign(path), Quiet(), no_wait=True).kind == "waiting"


def asked(path: Path) -> list[tuple[str, Query]]:
    """What the campaign asks, by text, the most uncertain first."""
    return _from_store(path)[0]


def answers(path: Path) -> dict[str, Annotation]:
    """What is in the database, by text."""
    queries, annotations = _from_store(path)
    texts = {query.query_id: text for text, query in queries}
    return {texts[annotation.query_id]: annotation for annotation in annotations}


def labels(path: Path) -> dict[str, JsonValue]:
    """What the answers settle into, by text."""
    file = load_campaign(path)
    store = open_store(file)
    try:
        found = store.find_campaign(file.spec.name)
        assert found is not None
        settled = store.labels(found.campaign_id)
        texts = [item.text for item in store.items(found.campaign_id, list(settled))]
        return {text: label.value for text, label in zip(texts, settled.values(), strict=True)}
    finally:
        store.close()


def _from_store(path: Path) -> tuple[list[tuple[str, Query]], list[Annotation]]:
    file = load_campaign(path)
    store = open_store(file)
    try:
        found = store.find_campaign(file.spec.name)
        assert found is not None
        queries = store.queries(found.campaign_id)
        items = store.items(found.campaign_id, [query.item_id for query in queries])
        texts = [item.text for item in items]
        return list(zip(texts, queries, strict=True)), store.annotations(found.campaign_id)
    finally:
        store.close()


def outcome(annotation: Annotation) -> tuple[object, bool]:
    return annotation.value, annotation.skipped


def test_labels_by_click_and_hotkey_and_skips_arrive(
    labelling: LabellingPage, campaign: Callable[..., Path]
) -> None:
    path = campaign(
        [{"id": str(number), "text": text} for number, text in enumerate(TEXTS)],
        name="newspaper",
        task={"kind": "classification", "labels": LABELS},
        annotator={"question": QUESTION, "unsure": UNSURE, "guidelines": GUIDELINES},
    )
    run(path)

    labelling.label_all_tasks("newspaper")
    for line in GUIDELINES.splitlines():
        labelling.page.get_by_text(line).wait_for()
    labelling.close_instructions()
    served = [look_over(labelling)]
    labelling.click("sport")
    assert labelling.chosen == ["sport"]
    labelling.click("business")
    assert labelling.chosen == ["business"]
    labelling.submit()
    served.append(look_over(labelling))
    labelling.press("5")
    labelling.submit_by_hotkey()
    served.append(look_over(labelling))
    labelling.skip()
    served.append(look_over(labelling))
    labelling.click(UNSURE)
    labelling.submit()
    served.append(look_over(labelling))

    by_rank = [text for text, _ in asked(path)]
    assert sorted(by_rank) == sorted(TEXTS)
    assert served == by_rank, "not served the most uncertain first, or not shown as it is"
    assert labelling.page.evaluate("window.ran") is None
    assert labelling.complaints == []

    run(path)
    found = answers(path)
    outcomes = [("business", False), ("tech", False), (None, True), (UNSURE, True)]
    assert {text: outcome(annotation) for text, annotation in found.items()} == dict(
        zip(by_rank, outcomes, strict=False)
    )
    assert {annotation.annotator for annotation in found.values()} == {ANNA}
    assert all((annotation.lead_time or 0) > 0 for annotation in found.values())


def look_over(labelling: LabellingPage) -> str:
    """The text of a task that has come up with nothing chosen, no hint of the model, and all in sight."""
    assert labelling.question == QUESTION
    assert labelling.options == [f"{name} [{key}]" for key, name in enumerate([*LABELS, UNSURE], 1)]
    assert labelling.chosen == []
    assert labelling.page.locator(".star-al-why").count() == 0
    for place in (labelling.choices.first, labelling.choices.last, labelling.page.locator(".star-al-text")):
        assert labelling.in_sight(place)
    picture = os.environ.get("STAR_AL_SCREENSHOT")
    if picture and labelling.text == NEWS:
        labelling.press("1")
        labelling.save_picture(Path(picture))
    return labelling.text


def test_multiple_choice_with_options_of_each_item(
    labelling: LabellingPage, campaign: Callable[..., Path]
) -> None:
    options = {
        "Why do most coasts have two high tides a day?": ["Wind", "The moon $x", "Ice"],
        "What is <b>2 + 2</b>?": ["3", "<img src=x onerror=alert(1)>", "5", "4 😀"],
        "Which is a prime?": ["7", "8"],
    }
    question = 'Which <answer> to $text is "right"?'
    path = campaign(
        [{"id": text, "text": text, "options": each} for text, each in options.items()],
        name="quiz",
        data={"path": "pool.jsonl", "text": "text", "id": "id", "options": "options"},
        task={"kind": "multiple_choice"},
        annotator={"question": question, "unsure": UNSURE, "show_reason": True},
    )
    run(path)

    labelling.label_all_tasks("quiz")
    first, second, _ = asked(path)
    for text, query in (first, second):
        assert labelling.text == text
        assert labelling.question == question
        assert query.reason.text in labelling.page.locator(".star-al-why").inner_text()
        names = [f"{letter}. {option}" for letter, option in zip("ABCD", options[text], strict=False)]
        assert labelling.options == [f"{name} [{key}]" for key, name in enumerate([*names, UNSURE], 1)]
        if text == first[0]:
            labelling.press("2")
            labelling.submit_by_hotkey()
        else:
            labelling.click("A. ")
            labelling.submit()
    assert labelling.complaints == []

    run(path)
    found = {text: outcome(annotation) for text, annotation in answers(path).items()}
    assert found == {first[0]: ("B", False), second[0]: ("A", False)}


def test_odd_labels_are_answered_as_they_are_and_teach_a_head_that_asks_on(
    labelling: LabellingPage, campaign: Callable[..., Path], tmp_path: Path
) -> None:
    build_tiny_encoder(tmp_path / "encoder")
    path = campaign(
        [{"id": str(number), "text": f"text {number}"} for number in range(3)],
        name="odd",
        task={"kind": "classification", "labels": ODD_LABELS},
        annotator={},
        learner={"kind": "head"},
        head={"encoder": "encoder"},
        acquisition={"batch_size": 2},
    )
    given: dict[str, tuple[object, bool]] = {}
    for labels in (ODD_LABELS[:2], ODD_LABELS[2:3]):
        run(path)
        labelling.label_all_tasks("odd")
        assert labelling.options == [f"{label} [{hotkey}]" for hotkey, label in enumerate(ODD_LABELS, 1)]
        for label in labels:
            given[labelling.text] = (label, False)
            labelling.choices.nth(ODD_LABELS.index(label)).click()
            labelling.submit()
    assert labelling.complaints == []
    assert running.run(load_campaign(path), Quiet(), no_wait=True).kind == "stopped"
    assert {text: outcome(annotation) for text, annotation in answers(path).items()} == given
    assert [query.round_index for _, query in asked(path)] == [0, 0, 1]
    assert "head margin" in asked(path)[2][1].reason.text


def chooses_sets(labelling: LabellingPage, number: int) -> JsonValue:
    """Tick two labels by their hotkeys, a third one by a click and off again, or say that none fits."""
    assert labelling.options == [f"{name} [{key}]" for key, name in enumerate([*LABELS, "none of these"], 1)]
    if number == 1:
        labelling.press("6")
        assert labelling.chosen == ["none of these"]
        return []
    labelling.press("4")
    labelling.press("1")
    for _ in range(2):
        labelling.click("politics")
    assert labelling.chosen == ["business", "sport"]
    return ["business", "sport"]


def prefers(labelling: LabellingPage, number: int) -> JsonValue:
    """Choose the better answer on whichever side it is, or a tie, by hotkey."""
    left, right, tie = labelling.options
    assert {left.partition(" [")[0], right.partition(" [")[0]} == {"a good answer", "a bad answer"}
    assert tie == "Both are equally good [3]"
    if number == 1:
        labelling.press("3")
        return "tie"
    labelling.press("1" if left.startswith("a good") else "2")
    return "B"


OF_KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[LabellingPage, int], JsonValue]]] = {
    "multi_label": ({"labels": LABELS}, {}, chooses_sets),
    "preference": ({}, {"options": ["a", "b"]}, prefers),
}


@pytest.mark.parametrize("kind", OF_KINDS)
def test_a_campaign_of_another_kind_is_labelled_to_its_end(
    labelling: LabellingPage, campaign: Callable[..., Path], kind: str
) -> None:
    task, data, choose = OF_KINDS[kind]
    rows = [{"id": str(n), "text": f"text {n}", "a": "a bad answer", "b": "a good answer"} for n in range(4)]
    path = campaign(
        rows,
        name=f"all-of-{kind}",
        data={"path": "pool.jsonl", "text": "text", "id": "id", **data},
        task={"kind": kind, **task},
        annotator={},
        acquisition={"batch_size": 2},
    )
    given: dict[str, JsonValue] = {}
    for _ in range(2):
        run(path)
        labelling.label_all_tasks(f"all-of-{kind}")
        for number in range(2):
            text = labelling.text
            given[text] = choose(labelling, number)
            labelling.submit_by_hotkey()
    assert labelling.complaints == []
    assert running.run(load_campaign(path), Quiet(), no_wait=True).kind == "stopped"
    assert labels(path) == given
    assert all(not annotation.skipped for annotation in answers(path).values())
    assert [query.round_index for _, query in asked(path)] == [0, 0, 1, 1]


def test_sixty_labels_and_a_text_are_in_sight(
    labelling: LabellingPage, campaign: Callable[..., Path]
) -> None:
    labels = [f"label number {number:02d}" for number in range(60)]
    path = campaign(
        [{"id": "1", "text": "short"}, {"id": "2", "text": LONG}],
        name="sixty",
        task={"kind": "classification", "labels": labels},
        annotator={"unsure": UNSURE},
    )
    run(path)
    labelling.label_all_tasks("sixty")
    for _ in range(2):
        for number in range(61):
            assert labelling.in_sight(labelling.choices.nth(number))
        if labelling.text != "short":
            box = labelling.page.locator(".star-al-text").bounding_box()
            assert box is not None and box["height"] > 100
        labelling.click("label number 59")
        labelling.submit()
    assert labelling.complaints == []


def test_each_line_is_aligned_as_its_script_is_written(
    labelling: LabellingPage, campaign: Callable[..., Path]
) -> None:
    text = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd (2026).\n\nHello world.\n\u0645\u0631\u062d\u0628\u0627"
    path = campaign(
        [{"id": "1", "text": text}],
        name="scripts",
        task={"kind": "classification", "labels": LABELS},
        annotator={},
    )
    run(path)
    labelling.label_all_tasks("scripts")
    assert labelling.text == text
    gaps = labelling.page.locator(".star-al-text .lsf-richtext__line").evaluate_all(
        """lines => lines.filter(line => line.innerText).map(line => {
            const range = document.createRange()
            range.selectNodeContents(line)
            const [words, whole] = [range.getBoundingClientRect(), line.getBoundingClientRect()]
            return [words.left - whole.left > 100, whole.right - words.right > 100]
        })"""
    )
    assert gaps == [[True, False], [False, True], [True, False]]
    assert labelling.complaints == []
