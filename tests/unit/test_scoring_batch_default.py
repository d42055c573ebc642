"""A campaign that began before scoring batches were measured keeps its batch; a new one measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from star_al.config.changes import changed_fields, keep_earlier_defaults
from star_al.config.file import load_campaign
from support.campaigns import write_campaign


@pytest.mark.parametrize(("written", "kept"), [({}, 4096), ({"model__batch_tokens": 700}, 700)])
def test_a_campaign_keeps_the_batch_it_began_with_unless_its_file_names_one(
    tmp_path: Path, written: dict[str, Any], kept: int
) -> None:
    stored = load_campaign(write_campaign(tmp_path)).spec.model_dump(mode="json")
    stored["model"]["batch_tokens"] = 4096
    file = keep_earlier_defaults(load_campaign(write_campaign(tmp_path, **written)), stored)
    assert file.spec.model.batch_tokens == kept
    assert not changed_fields(stored, file.spec, trained=True)


def test_a_new_campaign_measures(tmp_path: Path) -> None:
    file = load_campaign(write_campaign(tmp_path))
    assert file.spec.model.batch_tokens == "auto"
    stored = file.spec.model_dump(mode="json")
    assert keep_earlier_defaults(file, stored).spec.model.batch_tokens == "auto"
