"""Campaigns that began before a default of ``posterior`` changed keep what they began with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from star_al.config.changes import changed_fields, keep_earlier_defaults
from star_al.config.file import load_campaign
from star_al.config.spec import FROM_FILE, CampaignSpec, MapSpec, McDropoutSpec
from support.campaigns import write_campaign

EARLIER = {
    "laplace": {"kind": "laplace", "samples": 10, "subset": "all", "n_kfac": 10, "prior_precision": 1000.0},
    "tfb": {"kind": "tfb", "samples": 10, "tolerance": 0.003},
}
"""Sections as version 0.1 stored them."""


@pytest.mark.parametrize(
    ("kind", "named", "kept"),
    [
        ("laplace", {}, {"prior_mean": "zero"}),
        ("laplace", {"prior_mean": "zero"}, {"prior_mean": "zero"}),
        ("tfb", {}, {"rule": "loss", "tolerance": 0.003}),
        ("tfb", {"tolerance": 0.003}, {"rule": "loss", "tolerance": 0.003}),
    ],
)
def test_a_campaign_keeps_the_posterior_it_began_with(
    tmp_path: Path, kind: str, named: dict[str, Any], kept: dict[str, Any]
) -> None:
    file = load_campaign(write_campaign(tmp_path, posterior={"kind": kind, **named}))
    stored = file.spec.model_dump(mode="json") | {"posterior": EARLIER[kind]}
    found = keep_earlier_defaults(file, stored).spec
    assert found.posterior.model_dump() == EARLIER[kind] | kept | {
        name: getattr(file.spec.posterior, name) for name in ({"texts"} if kind == "tfb" else set())
    }
    assert changed_fields(stored, found, trained=True) == []


@pytest.mark.parametrize(
    ("kind", "name", "value"), [("laplace", "prior_mean", "start"), ("tfb", "rule", "predictions")]
)
def test_a_value_that_the_file_names_is_a_change(tmp_path: Path, kind: str, name: str, value: str) -> None:
    file = load_campaign(write_campaign(tmp_path, posterior={"kind": kind, name: value}))
    stored = file.spec.model_dump(mode="json") | {"posterior": EARLIER[kind]}
    changed = changed_fields(stored, keep_earlier_defaults(file, stored).spec, trained=True)
    assert f"posterior.{name}" in changed


@pytest.mark.parametrize(
    ("kind", "fresh"),
    [("laplace", {"prior_mean": "start"}), ("tfb", {"rule": "predictions", "tolerance": 0.01})],
)
def test_a_new_campaign_has_the_new_default_and_goes_on_with_it(
    tmp_path: Path, kind: str, fresh: dict[str, Any]
) -> None:
    file = load_campaign(write_campaign(tmp_path, posterior={"kind": kind}))
    assert file.spec.posterior.model_dump().items() >= fresh.items()
    stored = file.spec.model_dump(mode="json")
    assert keep_earlier_defaults(file, stored).spec == file.spec


def test_a_tolerance_belongs_to_its_rule(tmp_path: Path) -> None:
    """A campaign that changes to the other rule before it is trained does not keep 0.003 of the loss."""
    file = load_campaign(write_campaign(tmp_path, posterior={"kind": "tfb", "rule": "predictions"}))
    stored = file.spec.model_dump(mode="json") | {"posterior": EARLIER["tfb"]}
    found = keep_earlier_defaults(file, stored).spec.posterior
    assert found.model_dump().items() >= {"rule": "predictions", "tolerance": 0.01}.items()


PLAIN = {"name": "a", "data": {"path": "a.csv"}, "annotator": {"kind": "oracle", "gold": "gold"}}
TREE = PLAIN | {"task": {"kind": "classification", "labels": ["a", "b"]}, "model": {"name": "tiny"}}


def test_a_new_campaign_samples_nothing_unless_it_is_stars() -> None:
    assert CampaignSpec.model_validate(TREE, context=FROM_FILE).posterior == MapSpec(kind="map")
    star = CampaignSpec.model_validate(TREE | {"acquisition": {"preset": "star"}}, context=FROM_FILE)
    assert star.posterior == McDropoutSpec()
    few = CampaignSpec.model_validate(TREE | {"posterior": {"samples": 5}}, context=FROM_FILE)
    assert few.posterior == McDropoutSpec(samples=5)


def test_bald_samples_by_dropout_unless_the_head_ranks() -> None:
    """Campaigns of earlier versions asked for BALD without a posterior."""
    bald = TREE | {"acquisition": {"measure": "bald"}}
    file = CampaignSpec.model_validate(bald, context=FROM_FILE)
    assert file.posterior == McDropoutSpec()
    by_head = TREE | {"acquisition": {"measure": "bald", "scorer": "head"}}
    assert CampaignSpec.model_validate(by_head, context=FROM_FILE).posterior == MapSpec(kind="map")


@pytest.mark.parametrize("written", [{}, {"kind": "map"}])
def test_a_campaign_that_sampled_by_default_goes_on_unless_its_file_says_otherwise(
    tmp_path: Path, written: dict[str, Any]
) -> None:
    path = write_campaign(tmp_path, posterior=written or {"kind": "map"})
    if not written:
        path.write_text(re.sub(r"(?m)^posterior:\n(?: .*\n)+", "", path.read_text()))
    file = load_campaign(path)
    stored = file.spec.model_dump(mode="json") | {"posterior": {"kind": "mc_dropout", "samples": 3}}
    kept = keep_earlier_defaults(file, stored)
    assert kept.spec.posterior == (MapSpec(kind="map") if written else McDropoutSpec())
    assert changed_fields(stored, kept.spec, trained=True) == (["posterior.kind"] if written else [])


def test_a_section_that_is_deleted_is_a_change(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, posterior={"kind": "laplace"})
    stored = load_campaign(path).spec.model_dump(mode="json")
    path.write_text(re.sub(r"(?m)^posterior:\n(?: .*\n)+", "", path.read_text()))
    kept = keep_earlier_defaults(load_campaign(path), stored)
    assert changed_fields(stored, kept.spec, trained=True) == ["posterior.kind"]
