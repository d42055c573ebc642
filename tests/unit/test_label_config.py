from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from star_al.annotators.label_studio import label_config
from star_al.annotators.label_studio.controls import control_of
from star_al.config.spec import LabelStudioSpec, task_spec
from star_al.errors import ConfigError
from star_al.task import make_task
from star_al.types import Item

TWO = make_task(task_spec({"kind": "classification", "labels": ["neg", "pos"]}))
OPTIONS = make_task(task_spec({"kind": "multiple_choice"}))


def _spec(**changes: object) -> LabelStudioSpec:
    return LabelStudioSpec.model_validate({"kind": "label_studio", **changes})


def _choices(config: str) -> list[dict[str, str]]:
    return [choice.attrib for choice in ElementTree.fromstring(config).iter("Choice")]


def _options(item: Item, unsure: str | None) -> list[dict[str, str]]:
    options: list[dict[str, str]] = control_of(OPTIONS).data(item, unsure, "query")["options"]
    return options


def test_the_first_choices_have_a_key_each() -> None:
    names = [f"label {number}" for number in range(40)]
    task = make_task(task_spec({"kind": "classification", "labels": names}))
    choices = _choices(label_config.write(_spec(unsure="no idea"), task, "key"))
    assert [choice["alias"] for choice in choices] == [*names, "no idea"]
    keys = [choice["hotkey"] for choice in choices if "hotkey" in choice]
    assert keys[:11] == list("1234567890q")
    assert len(set(keys)) == len(keys) == 36


@pytest.mark.parametrize("label", ['"q"', "<b>&</b>", "it's", "a\nb\tc", " x ", "😀", "1st", "$5", "a,b"])
def test_a_label_is_answered_as_it_is(label: str) -> None:
    task = make_task(task_spec({"kind": "classification", "labels": [label, "other"]}))
    (first, _) = _choices(label_config.write(_spec(), task, "key"))
    assert first["alias"] == task.spec.label_names[0]
    assert first["value"].replace("\u2060", "") == first["alias"]


def test_a_dollar_sign_is_no_field_of_the_task() -> None:
    item = Item("i", "text", options=("$text", "$5"))
    for shown in (
        *(choice["value"] for choice in _options(item, "$why")),
        label_config.write(_spec(question="$text?"), TWO, "key").partition("<Text")[0],
    ):
        assert "$" in shown and "$t" not in shown and "$5" not in shown and "$w" not in shown


def test_options_are_lettered_and_numbered() -> None:
    item = Item("i", "text", options=("yes", "no"))
    assert _options(item, None) == [
        {"value": "A. yes", "alias": "A", "hotkey": "1"},
        {"value": "B. no", "alias": "B", "hotkey": "2"},
    ]
    assert _options(item, "?")[-1] == {
        "value": "?",
        "alias": "?",
        "hotkey": "3",
    }


def test_the_longest_item_still_has_keys() -> None:
    item = Item("i", "text", options=tuple(map(str, range(26))))
    assert len({choice["hotkey"] for choice in _options(item, "unsure")}) == 27


def test_our_config_is_distinguished_from_one_edited_by_hand() -> None:
    config = label_config.write(_spec(), TWO, "some_key")
    assert label_config.is_unedited(config)
    assert label_config.is_unedited(config.replace("\n", "\r\n"))
    assert not label_config.is_unedited(config.replace("Which", "What"))
    assert not label_config.is_unedited("<View></View>")
    assert label_config.marks("My notes", config) == {"some_key"}
    assert label_config.marks("star_al:other_1.", config) == {"other_1", "some_key"}


def test_ours_has_no_faults_of_any_kind() -> None:
    for task in (TWO, OPTIONS):
        for spec in (_spec(), _spec(unsure="?", show_reason=True, question="<What>?")):
            assert label_config.faults(label_config.write(spec, task, "key"), task) == []


def test_faults_name_what_is_missing() -> None:
    config = label_config.write(_spec(), TWO, "key")
    more = make_task(task_spec({"kind": "classification", "labels": ["neg", "pos", "new"]}))
    assert label_config.faults(config, more) == ["it lacks 1 label: 'new'"]
    names = [f"label {number}" for number in range(100)]
    hundred = make_task(task_spec({"kind": "classification", "labels": names}))
    (fault,) = label_config.faults(config, hundred)
    assert fault.endswith("'label 9' and 90 more")
    assert "does not show the text" in label_config.faults(config.replace("$text", "$body"), TWO)[0]
    assert "no Choices" in label_config.faults(config.replace('name="label"', 'name="x"'), TWO)[0]
    assert "not valid XML" in label_config.faults("<View", TWO)[0]
    assert "do not come from the task" in label_config.faults(config, OPTIONS)[0]


PLAIN = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text">'
    '<Choice value="pos"/><Choice value="neg"/></Choices></View>'
)
SEVERAL = 'its Choices let people choose several labels (choice="single")'


def _written(old: str, new: str) -> str:
    assert old in PLAIN
    return PLAIN.replace(old, new)


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        (_written('toName="text"', 'toName="text" choice="multiple"'), SEVERAL),
        (_written('toName="text"', 'toname="text" CHOICE="Multiple"'), SEVERAL),
        (
            _written('toName="text"', 'toName="text" perRegion="true"'),
            'its Choices ask once for each region, not once for each text (perRegion="false")',
        ),
        (
            _written('toName="text"', 'toName="text" peritem="1"'),
            'its Choices ask once for each item, not once for each text (perItem="false")',
        ),
        (
            _written('toName="text"', 'toName="text" allowNested="true"'),
            'its Choices are nested (allowNested="false")',
        ),
        (_written("Choices", "Taxonomy"), 'its "label" is a Taxonomy, not a Choices'),
        (
            _written('<View><Text', '<View><Image name="img" value="$image"/><Text').replace(
                'toName="text"', 'toName="img"'
            ),
            'its Choices belong to "img", not to the text (toName="text")',
        ),
    ],
)  # fmt: skip
def test_a_project_that_does_not_collect_one_label_a_text_is_refused(config: str, fault: str) -> None:
    assert label_config.faults(config, TWO) == [fault]


@pytest.mark.parametrize(
    "config",
    [
        PLAIN,
        _written('toName="text"', 'toName="text" choice="single" required="true" perRegion="false"'),
        _written('toName="text"', 'toName="text" choice="single-radio"'),
        _written('name="text"', 'name="body"').replace('toName="text"', 'toName="body"'),
        _written('"pos"', '"Positive" alias="pos"'),
        _written('"pos"', '"POS"'),  # compared as in the data
        _written('"pos"/>', '"pos"/><Choice value="third"/>'),
    ],
)
def test_a_project_that_collects_one_label_a_text_is_taken(config: str) -> None:
    assert label_config.faults(config, TWO) == []


def test_choices_that_are_no_labels_are_named() -> None:
    config = _written('"pos"/>', '"pos"/><Choice value="third"/><Choice value="?"/>')
    config = config.replace('toName="text"', 'toName="text" required="true"')
    (remark,) = label_config.remarks(config, TWO, None)
    assert remark.startswith("it also offers 'third', '?', which are not labels of the campaign")
    (remark,) = label_config.remarks(config, TWO, "?")
    assert remark.startswith("it also offers 'third', which is not a label of the campaign")
    for task in (TWO, OPTIONS):
        ours = label_config.write(_spec(unsure="?"), task, "key")
        assert label_config.remarks(ours, task, "?") == []


def test_a_project_that_takes_empty_answers_is_remarked_on() -> None:
    for config in (PLAIN, _written('toName="text"', 'toName="text" required="false"')):
        (remark,) = label_config.remarks(config, TWO, None)
        assert remark.startswith("it lets people submit without a choice, which counts as a skip")


def test_the_reason_stands_there_only_if_wanted() -> None:
    assert "$why" not in label_config.write(_spec(), TWO, "key")
    assert "$why" in label_config.write(_spec(show_reason=True), TWO, "key")


def test_what_cannot_stand_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="also a label"):
        label_config.write(_spec(unsure="pos"), TWO, "key")
    with pytest.raises(ConfigError, match="also a label"):
        label_config.write(_spec(unsure="B"), OPTIONS, "key")
    with pytest.raises(ConfigError, match="control character"):
        label_config.write(_spec(question="what\x07?"), TWO, "key")
