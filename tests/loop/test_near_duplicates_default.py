"""Near-duplicates are not asked twice unless a campaign began without that, or its batch has to be random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from star_al.config.changes import changed_fields, keep_earlier_defaults
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignSpec
from star_al.errors import ConfigError
from support.campaigns import make_rows, write_campaign, write_jsonl
from support.world import World


def threshold(tmp_path: Path, **changes: Any) -> float | None:
    """The resolved setting of a campaign file."""
    return load_campaign(write_campaign(tmp_path, **changes)).spec.acquisition.batch.near_duplicates


def test_the_default_gives_way_where_it_cannot_be(tmp_path: Path) -> None:
    assert threshold(tmp_path) == 0.8
    assert threshold(tmp_path, acquisition__batch={"kind": "power"}) == 0.8
    assert threshold(tmp_path, acquisition__batch={"kind": "random"}) is None
    assert threshold(tmp_path, acquisition__batch={"near_duplicates": None}) is None
    samples = {"kind": "mc_dropout", "samples": 20}
    assert threshold(tmp_path, acquisition__adaptive_samples=4, posterior=samples) is None
    with pytest.raises(ConfigError, match="takes neither"):
        threshold(tmp_path, acquisition__batch={"kind": "random", "near_duplicates": 0.8})


def test_settings_stored_before_it_existed_are_without_it(tmp_path: Path) -> None:
    stored = load_campaign(write_campaign(tmp_path)).spec.model_dump(mode="json")
    del stored["acquisition"]["batch"]["near_duplicates"]
    assert CampaignSpec.model_validate(stored).acquisition.batch.near_duplicates is None


@pytest.mark.parametrize(("written", "kept"), [({}, None), ({"near_duplicates": 0.9}, 0.9)])
def test_a_campaign_that_began_without_it_goes_on_without_it(
    tmp_path: Path, written: dict[str, float], kept: float | None
) -> None:
    stored = load_campaign(write_campaign(tmp_path, acquisition__preset="star")).spec.model_dump(mode="json")
    del stored["acquisition"]["preset"]
    stored["acquisition"]["batch"]["near_duplicates"] = None
    changes: dict[str, Any] = {"acquisition__batch": written} if written else {}
    file = load_campaign(write_campaign(tmp_path, **changes))
    file = keep_earlier_defaults(file, stored)
    assert file.spec.acquisition.batch.near_duplicates == kept
    assert bool(changed_fields(stored, file.spec, trained=True)) is (kept is not None)


def test_a_preset_that_is_named_counts_in_a_campaign_from_before_presets(tmp_path: Path) -> None:
    stored = load_campaign(write_campaign(tmp_path, acquisition__preset="star")).spec.model_dump(mode="json")
    del stored["acquisition"]["preset"]
    file = load_campaign(write_campaign(tmp_path, acquisition__preset="recommended"))
    changed = changed_fields(stored, keep_earlier_defaults(file, stored).spec, trained=True)
    assert "acquisition.measure" in changed


@pytest.mark.parametrize(("near", "distinct"), [(0.8, 4), (None, 3)])
def test_a_cold_start_asks_each_kind_of_text_once(tmp_path: Path, near: float | None, distinct: int) -> None:
    """Of 40 texts, 36 are one text with another number, of which chance alone draws several."""
    rows = make_rows(4)
    same = "the market report said that the old bank had traded its shares for a deal in the city, number"
    rows += [{"id": f"copy-{n}", "text": f"{same} {n}", "label": "business"} for n in range(36)]
    write_jsonl(tmp_path / "pool.jsonl", rows)
    world = World(
        tmp_path,
        acquisition={"batch_size": 4, "batch": {"near_duplicates": near}},
        evaluation={"kind": "none", "calibration": 0},
    )
    world.run(max_rounds=1)
    texts = [world.item(query).text for query in world.asked()]
    kinds = {same if text.startswith(same) else text for text in texts}
    assert len(texts) == 4
    assert len(kinds) == distinct if near else len(kinds) < 4
