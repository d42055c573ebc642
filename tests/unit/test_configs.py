"""The files in configs/ are valid, and their comments describe no setting a second time."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from star_al.config.file import load_campaign
from star_al.config.reference import reference
from star_al.config.schema import campaign_schema
from star_al.config.setting_tree import all_settings
from star_al.config.spec import FROM_FILE, CampaignSpec, LoraLearnerSpec
from star_al.data import ImportCounts, data_source, read_items
from star_al.task import make_task

CONFIGS = Path(__file__).parents[2] / "configs"
REFERENCE = CONFIGS / "classification.yaml"

every_config = pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)


def read(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


@every_config
def test_each_config_is_valid_and_named_after_its_file(path: Path) -> None:
    campaign = load_campaign(path)
    assert path == REFERENCE or campaign.spec.name == path.stem


def test_the_three_ways_to_train_are_shown() -> None:
    specs = {
        name: load_campaign(CONFIGS / f"{name}.yaml").spec for name in ("star", "head", "head-then-lora")
    }
    star, head, both = specs["star"], specs["head"], specs["head-then-lora"]
    assert (star.acquisition.measure, star.acquisition.blend.kind, star.acquisition.cold_start) == (
        "entropy",
        "schedule",
        "random",
    )
    assert head.has_head_learner and head.model.name is None
    assert isinstance(both.learner, LoraLearnerSpec) and both.head_ranks and both.learner.train == (100, 200)


@every_config
def test_each_config_agrees_with_the_json_schema(path: Path) -> None:
    jsonschema.Draft202012Validator(campaign_schema()).validate(read(path.read_text(encoding="utf-8")))


def test_the_reference_is_made_from_the_specification() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == reference(), "run `make settings`"


def test_the_reference_shows_every_setting() -> None:
    written = {"".join(re.findall(r"^ *(?:# +)?(\w+):", line)) for line in reference().splitlines()}
    shown = {setting.name for top in all_settings() for setting in top.walk()}
    assert shown - {"pattern", "verbaliser", "description"} <= written  # these are in lists and in examples


def test_the_reference_shows_the_defaults() -> None:
    full = load_campaign(REFERENCE).spec.model_dump()
    needed = {
        "name": full["name"],
        "data": {"path": full["data"]["path"]},
        "task": {"kind": full["task"]["kind"], "labels": full["task"]["labels"]},
        "model": {"name": full["model"]["name"]},
        "annotator": {"kind": "oracle", "gold": full["annotator"]["gold"]},
    }
    assert CampaignSpec.model_validate(needed, context=FROM_FILE).model_dump() == full


def other_kinds() -> list[str]:
    """The sections of another kind that the reference shows in comments."""
    blocks = re.findall(r"(?m)^# Or, in its place:\n((?:#.*\n)+)", reference())
    return [re.sub(r"(?m)^# ?", "", block) for block in blocks]


@pytest.mark.parametrize("section", other_kinds(), ids=lambda text: re.findall(r"kind: (\w+)", text)[0])
def test_a_section_of_another_kind_takes_the_place_of_the_shown_one(section: str) -> None:
    tree = read(reference()) | (other := read(section))
    if section.startswith("task:") and "`data.options` finds" in " ".join(section.split()):
        tree["data"]["options"] = "options"
    spec = CampaignSpec.model_validate(tree, context=FROM_FILE)
    ((name, values),) = other.items()
    (shared,) = ({each.name for each in top.shared} for top in all_settings() if top.name == name)
    fields = type(getattr(spec, name)).model_fields
    assert set(fields) - shared == values.keys()  # all of its settings but for those of all kinds
    required = {
        each: values[each] for each in fields if each in ("kind", "labels") or fields[each].is_required()
    }
    assert CampaignSpec.model_validate(tree | {name: required}, context=FROM_FILE) == spec  # the defaults


@pytest.mark.parametrize("colon", ["", ":"])
def test_obqa_pattern_takes_the_options_out_of_the_question(colon: str, tmp_path: Path) -> None:
    options = "".join(f"Answer{key}{colon} the {name} key\n" for key, name in zip("ABC", "xyz", strict=True))
    row = {"question": f"Which one opens it?\n{options}The correct answer is ", "answer": "C"}
    (tmp_path / "obqa").mkdir()
    (tmp_path / "obqa" / "train.jsonl").write_text(json.dumps(row))
    config = tmp_path / "obqa.yaml"
    shutil.copy(CONFIGS / config.name, config)
    campaign = load_campaign(config)
    (read,) = read_items(data_source(campaign), make_task(campaign.spec.task), ImportCounts())
    assert read.item.options == ("the x key", "the y key", "the z key")
    assert read.item.text.strip() == "Which one opens it?"


def test_gsm8k_finds_the_number_after_the_reasoning(tmp_path: Path) -> None:
    row = {"question": "How many?", "answer": "6 * 200 = <<6*200=1200>>1,200\n#### 1,200"}
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "train.jsonl").write_text(json.dumps(row))
    config = tmp_path / "gsm8k.yaml"
    shutil.copy(CONFIGS / config.name, config)
    campaign = load_campaign(config)
    task = make_task(campaign.spec.task)
    (read,) = read_items(data_source(campaign), task, ImportCounts())
    assert task.spell(read.item, row["answer"]) == row["answer"]
    assert task.read(read.item, row["answer"]) == "1200"
