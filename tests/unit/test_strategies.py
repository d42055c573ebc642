"""Named strategies are campaign settings, and the runs of a study differ in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from star_al.app.strategies import (
    POSTERIORS,
    STRATEGIES,
    known_strategies,
    run_file,
    run_of,
    study_spec,
    with_posteriors,
)
from star_al.config.file import load_campaign
from star_al.config.spec import FROM_FILE, AcquisitionSpec, CampaignFile, CampaignSpec, PosteriorSpec, TfbSpec
from star_al.errors import ConfigError
from support.campaigns import write_campaign

EIGHT = {"kind": "mc_dropout", "samples": 16}


def study_file(folder: Path, **changes: Any) -> CampaignFile:
    file = load_campaign(write_campaign(folder, n=30, posterior=EIGHT, **changes))
    return file.model_copy(update={"spec": study_spec(file, gold=None, rounds=None)})


def spec_of(file: CampaignFile, strategy: str, seed: int = 0) -> CampaignSpec:
    return run_file(file, run_of("study", strategy, seed), file.path.parent / "study").spec


@pytest.mark.parametrize(
    ("strategy", "measure", "blend", "batch"),
    [
        ("random", "entropy", "off", "random"),
        ("entropy", "entropy", "off", "top_k"),
        ("margin", "margin", "off", "top_k"),
        ("bald", "bald", "off", "top_k"),
        ("star", "entropy", "schedule", "top_k"),
        ("star_measured", "entropy", "measured", "top_k"),
        ("star_prequential", "entropy", "prequential", "top_k"),
        ("batchbald", "bald", "off", "batchbald"),
        ("badge", "entropy", "off", "badge"),
        ("config", "least_confidence", "constant", "power"),
    ],
)
def test_a_strategy_is_its_settings_whatever_the_file_has(
    tmp_path: Path, strategy: str, measure: str, blend: str, batch: str
) -> None:
    file = study_file(
        tmp_path,
        acquisition__measure="least_confidence",
        acquisition__blend={"kind": "constant", "weight": 0.7, "normalise": "rank"},
        acquisition__batch={"kind": "power", "beta": 4.0, "near_duplicates": 0.9, "balance": True},
        acquisition__control_share=0.25,
    )
    found = spec_of(file, strategy).acquisition
    assert (found.measure, found.blend.kind, found.batch.kind) == (measure, blend, batch)
    assert (found.batch.beta, found.blend.normalise, found.batch_size) == (4.0, "rank", 4)
    assert found.batch.balance is (strategy == "config")
    assert found.control_share == (0.25 if strategy == "config" else 0.0)


def test_every_strategy_makes_a_campaign_of_its_own(tmp_path: Path) -> None:
    file = study_file(tmp_path)
    specs = [spec_of(file, strategy) for strategy in known_strategies()]
    assert len({spec.name for spec in specs}) == len(specs)
    own = [spec.acquisition.model_dump_json() for spec in specs if spec.name != "study.config.0"]
    assert len(set(own)) == len(STRATEGIES)


def test_runs_of_a_seed_differ_in_name_acquisition_and_folder_alone(tmp_path: Path) -> None:
    file = study_file(tmp_path)
    one, other = (spec_of(file, strategy, 3).model_dump() for strategy in ("entropy", "margin"))
    differing = {key for key in one if one[key] != other[key]}
    assert differing == {"name", "acquisition", "artefacts"}
    assert one["seed"] == file.spec.seed + 3


def test_runs_share_the_database_and_the_frozen_blocks(tmp_path: Path) -> None:
    file = study_file(tmp_path)
    runs = [run_file(file, run_of("study", name, 0), tmp_path / "study") for name in ("random", "star")]
    assert {run.database_url for run in runs} == {file.database_url}
    assert {run.trunk_folder for run in runs} == {tmp_path / "study" / "trunk"}
    assert len({run.artefact_folder for run in runs}) == 2


def test_goals_and_waiting_are_off_so_that_curves_end_alike(tmp_path: Path) -> None:
    file = study_file(
        tmp_path,
        stopping={"automatic": True, "target_accuracy": 0.5, "max_labels": 40},
        labelling={"buffer": 3, "close_share": 0.5, "overlap": 2},
    )
    assert file.spec.stopping.model_dump(exclude_defaults=True) == {"max_labels": 40}
    assert (file.spec.labelling.buffer, file.spec.labelling.close_share) == (0, 1.0)
    assert file.spec.labelling.overlap == 2


def test_gold_takes_the_place_of_people_and_of_labels_that_are_known(tmp_path: Path) -> None:
    config = write_campaign(tmp_path, annotator={"kind": "label_studio"}, data__label="label")
    spec = study_spec(load_campaign(config), gold="label", rounds=5)
    assert (spec.gold_column, spec.data.label, spec.stopping.max_rounds) == ("label", None, 5)


def test_a_strategy_may_name_its_start_and_that_a_head_ranks(tmp_path: Path) -> None:
    file = study_file(tmp_path, acquisition__cold_start="random")
    found = spec_of(file, "margin:herding@head")
    assert (found.name, found.acquisition.cold_start) == ("study.margin-herding-head.0", "herding")
    assert found.ranking_model == "head" and spec_of(file, "margin").ranking_model == "adapted"
    assert spec_of(file, "margin").acquisition.cold_start == "random"
    assert spec_of(file, "margin:typical@map").posterior.kind == "map"


def test_strategies_begin_at_random_unless_they_or_the_file_name_another_start(tmp_path: Path) -> None:
    by_preset = study_file(
        tmp_path / "preset", acquisition__preset="recommended", acquisition__cold_start="herding"
    )
    assert spec_of(by_preset, "config").acquisition.cold_start == "herding"
    assert spec_of(by_preset, "margin").acquisition.cold_start == "random"
    typical = study_file(tmp_path / "typical", acquisition__cold_start="typical")
    assert spec_of(typical, "margin").acquisition.cold_start == "typical"
    assert spec_of(typical, "random").acquisition.cold_start == "random"
    assert spec_of(typical, "random:typical").acquisition.cold_start == "typical"


def test_recommended_is_the_preset_whatever_the_file_says(tmp_path: Path) -> None:
    file = study_file(tmp_path, acquisition__preset="star", acquisition__cold_start="typical")
    found, preset = spec_of(file, "recommended").acquisition, AcquisitionSpec(preset="recommended")
    for name in ("measure", "blend", "batch", "cold_start"):
        assert getattr(found, name) == getattr(preset, name)
    assert spec_of(file, "recommended:random").acquisition.cold_start == "random"


# -- posteriors -----------------------------------------------------------------------------------------


def test_strategies_and_posteriors_are_crossed_but_for_those_that_name_theirs() -> None:
    crossed = with_posteriors(("random", "star@map", "star", "star"), ("map", "laplace"))
    assert crossed == ("random@map", "random@laplace", "star@map", "star@laplace")
    assert with_posteriors(("star", "random", "star"), ()) == ("star", "random")


@pytest.mark.parametrize("kind", POSTERIORS)
def test_a_posterior_has_its_defaults_and_the_campaigns_own_its_settings(tmp_path: Path, kind: str) -> None:
    file = study_file(tmp_path)
    named, plain = spec_of(file, f"margin@{kind}"), spec_of(file, "margin")
    differing = {key for key, value in named.model_dump().items() if plain.model_dump()[key] != value}
    if kind == "mc_dropout":
        assert named.posterior.samples == 16 and differing == {"name", "artefacts"}
    else:
        fresh = TypeAdapter(PosteriorSpec).validate_python({"kind": kind}, context=FROM_FILE)
        assert named.posterior == fresh
        assert differing == {"name", "artefacts", "posterior"}
    assert named.name == f"study.margin-{kind}.0"


def test_a_study_that_began_earlier_keeps_the_defaults_of_its_posteriors(tmp_path: Path) -> None:
    file, run = study_file(tmp_path), run_of("study", "margin@tfb", 0)
    spec = run_file(file, run, tmp_path / "study", earlier=True).spec
    assert spec.posterior == TfbSpec(kind="tfb", rule="loss", tolerance=0.003)


def test_the_files_own_strategy_may_have_another_posterior(tmp_path: Path) -> None:
    file = study_file(tmp_path, acquisition__measure="margin")
    found = spec_of(file, "config@map")
    assert (found.acquisition.measure, found.posterior.kind) == ("margin", "map")


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        pytest.param("entropy:hreding", "no start 'hreding'; the starts are random,", id="misspelt start"),
        pytest.param("entropy:search", "no start 'search'", id="a search needs words"),
        pytest.param(
            "entropy@lapalce", "no posterior 'lapalce'; the posteriors are map, mc_dropout,", id="misspelt"
        ),
        pytest.param("entropy@", "no posterior ''", id="empty"),
        pytest.param("entropie@map", "no strategy 'entropie'; the strategies are random,", id="strategy"),
        pytest.param(
            "bald@map", "strategy bald@map: .*bald needs a posterior of at least 2 samples", id="bald"
        ),
    ],
)
def test_a_strategy_that_does_not_go_with_its_posterior_is_refused(
    tmp_path: Path, strategy: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        spec_of(study_file(tmp_path), strategy)
