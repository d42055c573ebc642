"""The files in configs/ are valid, and the commented reference names every setting with its real default."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from star_al.config.file import load_campaign
from star_al.config.spec import (
    CampaignSpec,
    LabellingSpec,
    LabelSpec,
    LabelStudioSpec,
    McDropoutSpec,
    OptionsPattern,
)
from star_al.data import ImportCounts, data_source, read_items
from star_al.task import ClosedTask

CONFIGS = Path(__file__).parents[2] / "configs"
REFERENCE = CONFIGS / "classification.yaml"
PEOPLE = CONFIGS / "people.yaml"

# Sections that stand in lists, or that only multiple choice has.
NOT_IN_THE_TREE = {LabelSpec, OptionsPattern}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_each_config_is_valid_and_named_after_its_file(path: Path) -> None:
    campaign = load_campaign(path)
    assert path == REFERENCE or campaign.spec.name == path.stem


def settings(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings."""
    for name, field in section.model_fields.items():
        sections = [
            part
            for part in (field.annotation, *get_args(field.annotation))
            if isinstance(part, type) and issubclass(part, BaseModel) and part not in NOT_IN_THE_TREE
        ]
        for section_ in sections:
            yield from settings(section_, f"{prefix}{name}.")
        if not sections:
            yield prefix + name


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def test_reference_names_every_setting() -> None:
    written = flatten(yaml.safe_load(REFERENCE.read_text(encoding="utf-8")))
    people = yaml.safe_load(PEOPLE.read_text(encoding="utf-8"))
    written |= flatten({name: people[name] for name in ("annotator", "labelling")})
    for posterior in other_posteriors():
        written |= flatten(posterior)
    assert sorted(written) == sorted(set(settings(CampaignSpec)))


def other_posteriors() -> list[dict[str, Any]]:
    """The posteriors that the reference shows in comments, to be put in the place of its own."""
    lines = re.findall(r"(?m)^# (posterior: \{.*\})$", REFERENCE.read_text(encoding="utf-8"))
    return [yaml.safe_load(line) for line in lines]


def test_reference_shows_each_posterior_with_its_defaults() -> None:
    campaign = yaml.safe_load(REFERENCE.read_text(encoding="utf-8"))
    shown = [CampaignSpec.model_validate(campaign | posterior).posterior for posterior in other_posteriors()]
    kinds = {type(campaign_posterior) for campaign_posterior in shown}
    assert kinds == set(get_args(CampaignSpec.model_fields["posterior"].annotation)) - {McDropoutSpec}
    for posterior, written in zip(shown, other_posteriors(), strict=True):
        assert type(posterior).model_validate({"kind": posterior.kind}) == posterior
        assert written["posterior"].keys() == type(posterior).model_fields.keys()


def test_people_shows_the_defaults() -> None:
    spec = load_campaign(PEOPLE).spec
    assert spec.annotator == LabelStudioSpec(kind="label_studio")
    assert spec.labelling == LabellingSpec()


def test_reference_shows_the_defaults() -> None:
    full = load_campaign(REFERENCE).spec.model_dump()
    needed = {
        "name": full["name"],
        "data": {"path": full["data"]["path"]},
        "task": {"kind": full["task"]["kind"], "labels": full["task"]["labels"]},
        "model": {"name": full["model"]["name"]},
        "annotator": {"kind": "oracle", "gold": full["annotator"]["gold"]},
    }
    assert CampaignSpec.model_validate(needed).model_dump() == full


@pytest.mark.parametrize("colon", ["", ":"])
def test_obqa_pattern_takes_the_options_out_of_the_question(colon: str, tmp_path: Path) -> None:
    options = "".join(f"Answer{key}{colon} the {name} key\n" for key, name in zip("ABC", "xyz", strict=True))
    row = {"question": f"Which one opens it?\n{options}The correct answer is ", "answer": "C"}
    (tmp_path / "obqa").mkdir()
    (tmp_path / "obqa" / "train.jsonl").write_text(json.dumps(row))
    config = tmp_path / "obqa.yaml"
    shutil.copy(CONFIGS / config.name, config)
    campaign = load_campaign(config)
    (read,) = read_items(data_source(campaign), ClosedTask(campaign.spec.task), ImportCounts())
    assert read.item.options == ("the x key", "the y key", "the z key")
    assert read.item.text.strip() == "Which one opens it?"
