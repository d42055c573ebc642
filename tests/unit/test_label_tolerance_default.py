"""Campaigns that began earlier read every label; new ones do where their measure compares samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from star_al.config.changes import changed_fields, keep_earlier_defaults
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignSpec
from support.campaigns import write_campaign


@pytest.mark.parametrize(
    ("written", "tolerance"),
    [
        ({}, 0.01),
        ({"acquisition__measure": "bald", "posterior__samples": 4}, 0.0),
        ({"acquisition__measure": "bald", "posterior__samples": 4, "model__label_tolerance": 0.001}, 0.001),
        ({"model__label_tolerance": 0}, 0.0),
    ],
)
def test_what_auto_stands_for(tmp_path: Path, written: dict[str, Any], tolerance: float) -> None:
    assert load_campaign(write_campaign(tmp_path, **written)).spec.label_tolerance == tolerance


def test_a_stored_campaign_without_the_setting_reads_every_label(tmp_path: Path) -> None:
    new = load_campaign(write_campaign(tmp_path))
    stored = new.spec.model_dump(mode="json")
    del stored["model"]["label_tolerance"]
    assert CampaignSpec.model_validate(stored).label_tolerance == 0.0
    kept = keep_earlier_defaults(new, stored)
    assert kept.spec.label_tolerance == 0.0
    assert not changed_fields(stored, kept.spec, trained=True)


def test_a_stored_campaign_keeps_its_own(tmp_path: Path) -> None:
    stored = load_campaign(write_campaign(tmp_path, model__label_tolerance=0.001)).spec.model_dump(
        mode="json"
    )
    kept = keep_earlier_defaults(load_campaign(write_campaign(tmp_path)), stored)
    assert kept.spec.label_tolerance == 0.001
    assert not changed_fields(stored, kept.spec, trained=True)
