"""Settings given beside the campaign file (``--set``) are read as if the file held them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from star_al.config.file import load_campaign
from star_al.config.reading import read_document
from star_al.config.spec import CampaignSpec
from star_al.errors import ConfigError
from support.campaigns import write_campaign


def spec(folder: Path, *settings: str) -> CampaignSpec:
    return load_campaign(write_campaign(folder), settings).spec


def test_a_value_replaces_the_files(tmp_path: Path) -> None:
    found = spec(tmp_path, "acquisition.batch_size=10", "stopping.max_labels=1000", "seed = 3")
    assert (found.acquisition.batch_size, found.stopping.max_labels, found.seed) == (10, 1000, 3)
    assert found.stopping.max_rounds == 3, "the rest of the section stays"


def test_a_section_that_the_file_does_not_have_is_made(tmp_path: Path) -> None:
    found = spec(tmp_path, "acquisition.batch.kind=power", "labelling.overlap=2")
    assert (found.acquisition.batch.kind, found.labelling.overlap) == ("power", 2)


def test_text_stays_as_it_is_written(tmp_path: Path) -> None:
    found = spec(tmp_path, "task.labels=[no, 007]", "name=1e3")
    assert (found.task.label_names, found.name) == (("no", "007"), "1e3")


def test_an_empty_value_is_none(tmp_path: Path) -> None:
    assert spec(tmp_path, "stopping.max_rounds=").stopping.max_rounds is None


def test_a_section_shared_by_an_alias_changes_in_one_place_only(tmp_path: Path) -> None:
    path = write_campaign(tmp_path)
    aliased = "evaluation: &shared {kind: audit, size: 8, calibration: 6, stop_set: 10}\n"
    path.write_text(re.sub(r"evaluation:\n(  .*\n)+", aliased, path.read_text()) + "other: *shared\n")
    document = read_document(path, CampaignSpec, ["other.size=5"])
    assert (document.tree["other"]["size"], document.tree["evaluation"]["size"]) == (5, 8)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("acquisition.batch_size", "not NAME=VALUE"),
        ("a b=1", "not NAME=VALUE"),
        ("name.first=1", "name is not a section"),
        ("task.labels=[a", "not valid YAML"),
        ("acquisition.batch_size=0", r"--set acquisition\.batch_size: .*greater than 0"),
        ("acquisition.batchsize=2", r"--set acquisition\.batchsize: unknown key\. Did you mean 'batch_size'"),
        ("nothing.here=2", "nothing: unknown key"),
    ],
)
def test_what_is_wrong_is_said_of_the_option(tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        spec(tmp_path, setting)
