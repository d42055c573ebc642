"""What predicts the labels of a new campaign, and of one that began before there were classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from star_al.config.changes import changed_fields, keep_earlier_defaults
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignSpec
from star_al.errors import ConfigError
from support.campaigns import write_campaign

MANY = [f"label {n}" for n in range(10)]


@pytest.mark.parametrize(
    ("labels", "head", "output", "classifies"),
    [
        (MANY, True, "auto", True),
        (MANY[:9], True, "auto", False),
        (MANY, False, "auto", False),
        (MANY, True, "label_names", False),
        (MANY[:2], False, "classifier", True),
    ],
)
def test_auto_classifies_many_labels_that_a_head_teaches(
    tmp_path: Path, labels: list[str], head: bool, output: str, classifies: bool
) -> None:
    learner = {"kind": "lora", "head": head}
    file = load_campaign(
        write_campaign(tmp_path, task__labels=labels, learner=learner, adapter__output=output)
    )
    assert file.spec.has_classifier == classifies


def test_options_have_no_classifier(tmp_path: Path) -> None:
    task, data = {"kind": "multiple_choice"}, {"path": "pool.jsonl", "options": "options"}
    path = write_campaign(tmp_path, task=task, data=data, adapter__output="classifier")
    with pytest.raises(ConfigError, match=r"adapter\.output: classifier needs the same labels"):
        load_campaign(path)
    path = write_campaign(tmp_path, task=task, data=data, learner={"kind": "lora", "head": True})
    assert not load_campaign(path).spec.has_classifier


@pytest.mark.parametrize(("written", "kept"), [({}, "label_names"), ({"adapter__output": "auto"}, "auto")])
def test_an_earlier_campaign_keeps_the_words_of_its_labels(
    tmp_path: Path, written: dict[str, Any], kept: str
) -> None:
    stored = load_campaign(write_campaign(tmp_path)).spec.model_dump(mode="json")
    del stored["adapter"]["output"]
    assert CampaignSpec.model_validate(stored).adapter.output == "label_names"
    file = keep_earlier_defaults(load_campaign(write_campaign(tmp_path, **written)), stored)
    assert file.spec.adapter.output == kept
    assert not changed_fields(stored, file.spec, trained=True)


@pytest.mark.parametrize(
    ("written", "kept"),
    [({}, ("auto", 5e-4)), ({"learning_rate": 2e-3}, ("auto", 2e-3))],
)
def test_an_earlier_campaign_keeps_its_layers_and_its_rate(
    tmp_path: Path, written: dict[str, Any], kept: tuple[str, float]
) -> None:
    earlier = {"target_modules": "auto", "learning_rate": 5e-4}
    stored = load_campaign(write_campaign(tmp_path, adapter=earlier)).spec.model_dump(mode="json")
    file = load_campaign(write_campaign(tmp_path, adapter=written))
    adapter = keep_earlier_defaults(file, stored).spec.adapter
    assert (adapter.target_modules, adapter.learning_rate) == kept
    new = load_campaign(write_campaign(tmp_path, adapter={}))
    adapter = keep_earlier_defaults(new, new.spec.model_dump(mode="json")).spec.adapter
    assert (adapter.target_modules, adapter.learning_rate) == ("all-linear", 1e-3)


def test_asking_for_a_classifier_later_is_a_change(tmp_path: Path) -> None:
    stored = load_campaign(write_campaign(tmp_path)).spec.model_dump(mode="json")
    asked = load_campaign(write_campaign(tmp_path, adapter__output="classifier"))
    file = keep_earlier_defaults(asked, stored)
    assert changed_fields(stored, file.spec, trained=True) == ["adapter.output"]


@pytest.mark.parametrize(
    ("begun", "now"),
    [
        ({"task__labels": MANY, "learner": {"kind": "lora", "head": True}}, {"task__labels": MANY}),
        (
            {"task__labels": MANY[:9], "learner": {"kind": "lora", "head": True}},
            {"task__labels": MANY, "learner": {"kind": "lora", "head": True}},
        ),
    ],
    ids=["no head any more", "a tenth label"],
)
def test_what_auto_chose_stays_when_other_settings_change(
    tmp_path: Path, begun: dict[str, Any], now: dict[str, Any]
) -> None:
    before = load_campaign(write_campaign(tmp_path, **begun)).spec
    stored = before.model_dump(mode="json")
    file = keep_earlier_defaults(load_campaign(write_campaign(tmp_path, **now)), stored)
    assert file.spec.has_classifier == before.has_classifier
    assert not changed_fields(stored, file.spec, trained=True)
