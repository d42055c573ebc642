"""A preference: values, settings, the labelling page, rows with chosen and rejected completions, and ties."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from star_al.annotators.label_studio import label_config
from star_al.annotators.label_studio.controls import TIE_SHOWN, control_of
from star_al.config.spec import CampaignSpec, LabelStudioSpec, task_spec
from star_al.data import ImportCounts, read_items
from star_al.data.source import DataSource, locate, source_of
from star_al.errors import DataError
from star_al.task import closed, make_task
from star_al.task.conversation import completion_text, prompt_text
from star_al.types import Item, JsonValue, SourceItem

PAIR = closed(make_task(task_spec({"kind": "preference"})))
HALF = closed(make_task(task_spec({"kind": "preference", "ties": "half"})))
ITEM = Item("i", "Say hello.", options=("Hello!", "No. B"))


def user(content: JsonValue) -> JsonValue:
    return {"role": "user", "content": content}


def assistant(content: JsonValue) -> JsonValue:
    return {"role": "assistant", "content": content}


# -- values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("A", "A"),
        (" b ", "B"),
        (0, "A"),
        (1, "B"),
        (0.0, "A"),
        (1.0, "B"),
        ("0", "A"),
        (" 1 ", "B"),
        ("Hello!", "A"),
        ("No. B", "B"),
        ("Tie", "tie"),
        ("", None),
    ],
)
def test_a_label_is_a_letter_a_completion_or_a_tie(raw: JsonValue, value: str | None) -> None:
    assert PAIR.parse(ITEM, raw) == value


@pytest.mark.parametrize("raw", [2, -1, 0.5, 2.0, "2", "-1", True, "C", "hello!", ["Hello!"]])
def test_what_is_no_completion_is_refused(raw: JsonValue) -> None:
    with pytest.raises(DataError, match="not in the label set; the labels are A, B, tie, or one of the two"):
        PAIR.parse(ITEM, raw)


def test_equal_completions_are_a_tie() -> None:
    assert PAIR.parse(Item("i", "x", options=("same", "same")), "same") == "tie"


def test_a_tie_has_no_column_and_teaches_what_the_settings_say() -> None:
    assert PAIR.choices(ITEM) == ("A", "B") and PAIR.has_no_column(" TIE ") and not PAIR.has_no_column("A")
    assert PAIR.shared_columns(ITEM, "tie") == () and HALF.shared_columns(ITEM, "tie") == (0, 1)
    assert PAIR.shared_columns(ITEM, "B") == HALF.shared_columns(ITEM, "B") == (1,)
    assert PAIR.same(ITEM, "tie", "Tie") and not PAIR.same(ITEM, "tie", "A")


def test_the_other_completion_is_the_rejected_one() -> None:
    assert PAIR.rejected(ITEM, "A", ["A", "tie"]) == ["B"] and PAIR.rejected(ITEM, "B", []) == ["A"]
    assert PAIR.teaches(ITEM, "A") and not PAIR.teaches(ITEM, "tie") and not HALF.teaches(ITEM, "tie")


def test_a_completion_is_nearer_to_a_tie_than_to_the_other_one() -> None:
    assert [PAIR.distance("A", other) for other in ("A", "tie", "B")] == [0.0, 0.5, 1.0]


# -- settings ----------------------------------------------------------------------------------------------

CAMPAIGN: Mapping[str, Any] = {
    "name": "n",
    "data": {"path": "d.jsonl", "text": "prompt", "options": ["chosen", "rejected"]},
    "task": {"kind": "preference"},
    "model": {"name": "m"},
    "annotator": {"kind": "oracle", "gold": "chosen"},
}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"posterior": {"kind": "clora"}}, r"posterior\.kind: clora does not go with task\.kind: preference"),
        ({"acquisition": {"batch": {"kind": "badge"}}}, r"batch\.kind: badge does not go with"),
        ({"adapter": {"loss": "answer"}}, r"adapter\.loss: answer does not go with"),
        ({"adapter": {"output": "classifier"}}, "needs the same labels for all texts"),
        ({"task": {"kind": "preference", "beta": 0}}, "greater than 0"),
        ({"task": {"kind": "preference", "contextual_calibration": True}}, "compete in pairs"),
        ({"data": {"path": "d.jsonl"}}, r"task\.kind: preference needs data\.options"),
        ({"data": {"path": "d.jsonl", "options": ["x"]}}, r"takes two columns in data\.options.*not \[x\]"),
        ({"data": {"path": "d.jsonl", "options": ["x", "y", "z"]}}, r"not \[x, y, z\]"),
        ({"annotator": {"kind": "label_studio", "unsure": "Tie"}}, "'Tie' is also a label"),
    ],
)
def test_settings_that_do_not_go_with_preferences_are_refused(
    changes: Mapping[str, Any], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        CampaignSpec.model_validate({**CAMPAIGN, **changes})


@pytest.mark.parametrize("kind", ["map", "mc_dropout", "ensemble", "laplace", "tfb"])
def test_other_posteriors_go_with_preferences(kind: str) -> None:
    assert CampaignSpec.model_validate({**CAMPAIGN, "posterior": {"kind": kind}}).posterior.kind == kind


def test_settings_are_read_back_as_stored() -> None:
    assert task_spec(HALF.spec.model_dump(mode="json")) == HALF.spec


# -- rows --------------------------------------------------------------------------------------------------


def read(folder: Path, *rows: Mapping[str, JsonValue], **data: Any) -> list[SourceItem]:
    (folder / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = CampaignSpec.model_validate({**CAMPAIGN, "data": {**CAMPAIGN["data"], **data}})
    source: DataSource = source_of(locate("d.jsonl", folder), spec, gold=spec.gold_column)
    return list(read_items(source, PAIR, ImportCounts()))


def test_the_order_of_chosen_and_rejected_does_not_tell_which_is_better(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(60)]
    found = read(tmp_path, *rows, label="chosen")
    labels = Counter(str(each.given_label) for each in found)
    assert set(labels) == {"A", "B"} and min(labels.values()) > 15
    for each, row in zip(found, rows, strict=True):
        assert PAIR.text(each.item, each.given_label) == row["chosen"]
        assert each.item.fields["chosen"] == row["chosen"] and each.item.fields["rejected"] == row["rejected"]


def test_an_order_that_tells_nothing_stays(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n}", "one": f"x {n}", "two": f"y {n}", "chosen": "A"} for n in range(20)]
    for n, each in enumerate(read(tmp_path, *rows, options=["one", "two"])):
        assert each.item.options == (f"x {n}", f"y {n}") and "one" not in each.item.fields


def test_messages_are_read_as_texts(tmp_path: Path) -> None:
    asked: list[JsonValue] = [{"role": "system", "content": "Be brief."}, user("Say hello.")]
    plain: dict[str, JsonValue] = {"prompt": "Say hello.", "chosen": "Hello!", "rejected": "No."}
    explicit: dict[str, JsonValue] = {
        "prompt": [user("Say hello.")],
        "chosen": [assistant("Hello!")],
        "rejected": [assistant("No.")],
    }
    whole: dict[str, JsonValue] = {
        "prompt": [*asked, assistant("Hello!")],
        "chosen": [*asked, assistant("Hello!")],
        "rejected": [*asked, assistant("No.")],
    }
    first, second, third = (each.item for each in read(tmp_path, plain, explicit, whole))
    assert first.item_id == second.item_id and set(first.options) == {"Hello!", "No."}
    assert third.text == "System: Be brief.\n\nUser: Say hello." and third.options == first.options
    assert third.fields["chosen"] == whole["chosen"]


def test_messages_of_several_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert prompt_text([user(parts)]) == "ab"
    assert completion_text([user("q"), assistant("a"), assistant("b")]) == "a\n\nb"
    assert prompt_text("plain") == "plain" and completion_text([1, 2]) == [1, 2]


def test_a_completion_may_look_like_a_list_of_labels(tmp_path: Path) -> None:
    (each,) = read(tmp_path, {"prompt": "p", "chosen": '["a", "b"]', "rejected": "c"}, label="chosen")
    assert PAIR.text(each.item, each.given_label) == '["a", "b"]'


@pytest.mark.parametrize(
    ("chosen", "rejected"), [("b", "C"), ("B", "A"), ("tie", "win"), ("1", "0"), ("No", "A"), ("A", "B")]
)
def test_a_completion_may_look_like_a_letter_a_tie_or_an_index(
    tmp_path: Path, chosen: str, rejected: str
) -> None:
    (each,) = read(tmp_path, {"prompt": "p", "chosen": chosen, "rejected": rejected}, label="chosen")
    assert PAIR.text(each.item, each.given_label) == chosen


def test_three_completions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found 3 options; task\.kind: preference takes 2"):
        read(tmp_path, {"prompt": "p", "all": ["a", "b", "c"], "chosen": "a"}, options="all")


# -- what people see ---------------------------------------------------------------------------------------


def shown(query_id: str, unsure: str | None = None, item: Item = ITEM) -> list[dict[str, str]]:
    options: list[dict[str, str]] = control_of(PAIR).data(item, unsure, query_id)["options"]
    return options


def test_sides_are_drawn_by_query_and_answers_keep_the_completions_letter() -> None:
    firsts: Counter[str] = Counter()
    for n in range(400):
        choices = shown(f"query{n}")
        assert choices == shown(f"query{n}")
        texts = {choice["alias"]: choice["value"] for choice in choices}
        assert texts == {"A": "Hello!", "B": "No. B", "tie": TIE_SHOWN}
        assert [choice["hotkey"] for choice in choices] == ["1", "2", "3"] and choices[2]["alias"] == "tie"
        firsts[choices[0]["alias"]] += 1
    assert 160 < firsts["A"] < 240


def test_hostile_completions_are_shown_as_they_are() -> None:
    item = Item("i", "p", options=("$text <b>x</b>\0", "\u202eright to left"))
    texts = [choice["value"] for choice in shown("q", "$why", item)]
    assert len(texts) == 4 and not any("$t" in text or "$w" in text or "\0" in text for text in texts)
    assert any("<b>x</b>" in text for text in texts)


def test_the_page_has_the_completions_side_by_side() -> None:
    config = label_config.write(LabelStudioSpec(kind="label_studio"), PAIR, "key")
    assert 'className="star-al star-al-sides"' in config and "Which answer is better?" in config
    assert label_config.faults(config, PAIR) == [] and label_config.remarks(config, PAIR, None) == []
    accepts = control_of(PAIR).accepts
    assert [accepts(PAIR, value) for value in ("A", "B", "tie", "C", "Hello!")] == [True] * 3 + [False] * 2
