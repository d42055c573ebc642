"""The process that trains in the background: it trains as the loop would, tells how it failed, and ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from star_al.app.running import controlling
from star_al.app.training_process import TrainingProcess
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile
from star_al.errors import ConfigError, LeaseLostError, ModelError
from star_al.loop import Loop
from star_al.parts import LeasedParts
from star_al.types import Role, Round
from support import controller
from support.campaigns import write_campaign
from support.quiet import Quiet
from support.tiny_encoder import build_tiny_encoder
from support.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny language model and a tiny encoder; tokenizers are not trained the same way twice."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "model": str(build_tiny_model(folder / "model")),
        "encoder": str(build_tiny_encoder(folder / "encoder")),
    }


def campaign_file(folder: Path, models: dict[str, str]) -> CampaignFile:
    changes: dict[str, Any] = {
        "model__name": models["model"],
        "head": {"encoder": models["encoder"], "features": "encoder"},
        "learner": {"kind": "lora", "train": "at_end"},
        "acquisition__scorer": "head",
        "stopping__max_rounds": 1,
    }
    return load_campaign(write_campaign(folder, **changes))


def fine() -> None:
    """Lease check: the campaign is still ours."""


def test_it_trains_as_the_loop_does_in_turn(tmp_path: Path, models: dict[str, str]) -> None:
    in_turn, beside = (campaign_file(tmp_path / name, models) for name in ("in_turn", "beside"))
    with controlling(in_turn, Quiet()) as parts:
        assert Loop(parts).run().kind == "stopped"
    progress = Quiet()
    with (
        controlling(beside, progress) as parts,
        TrainingProcess(beside, parts.lease, progress, fine) as process,
    ):
        assert Loop(replace(parts, background=process)).run().kind == "stopped"
        assert not process.busy
        assert parts.store.base_predictions(
            parts.learner.base_key, parts.store.item_ids(parts.campaign.campaign_id, Role.AUDIT)
        )
    records = [controller.record(file.path) for file in (in_turn, beside)]
    assert records[0] == records[1]
    assert records[0]["rounds"][-1][2], "it was trained"
    assert [said for said in progress.said if "trained the language model" in said]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]
) -> Iterator[tuple[CampaignFile, LeasedParts, Round]]:
    """A campaign that has stopped, whose language model is not trained yet; no test gets so far as to train it."""
    file = campaign_file(tmp_path_factory.mktemp("stopped"), models)
    with controlling(file, Quiet()) as parts:
        loop = Loop(parts)
        loop.training.finish = lambda: None  # type: ignore[method-assign]
        loop.training.keep_up = lambda round_=None: None  # type: ignore[method-assign]
        loop.run()
        yield file, parts, parts.store.rounds(parts.campaign.campaign_id)[-1]


def test_one_that_is_killed_is_an_error_that_says_so(
    trained: tuple[CampaignFile, LeasedParts, Round],
) -> None:
    file, parts, round_ = trained
    with TrainingProcess(file, parts.lease, Quiet(), fine) as process:
        process.start(round_)
        assert process.busy and process.in_words() == "training round 1"
        assert list(process.results(wait=False)) == []
        (child,) = _workers()
        child.kill()
        with pytest.raises(ModelError, match=r"training round 1: .* ended by SIGKILL.*adapter.batch_size"):
            list(process.results(wait=True))
        assert not process.busy


def test_one_whose_parent_is_gone_ends(trained: tuple[CampaignFile, LeasedParts, Round]) -> None:
    file, parts, round_ = trained
    with TrainingProcess(file, parts.lease, Quiet(), fine) as process:
        process.start(round_)
        running = process._running
        assert running is not None and running._process.stdin is not None
        running._process.stdin.close()  # as the system does when the parent dies
        assert running._process.wait(120) == 1
        with pytest.raises(ModelError, match="exit code 1"):
            list(process.results(wait=True))


def test_an_error_of_the_model_arrives_with_its_kind(
    trained: tuple[CampaignFile, LeasedParts, Round],
) -> None:
    file, parts, round_ = trained
    nowhere = file.spec.model_copy(update={"model": file.spec.model.model_copy(update={"name": "./nowhere"})})
    broken = file.model_copy(update={"spec": nowhere})
    with TrainingProcess(broken, parts.lease, Quiet(), fine) as process:
        process.start(round_)
        with pytest.raises(ConfigError, match="nowhere"):
            list(process.results(wait=True))


def test_a_lost_lease_ends_it(trained: tuple[CampaignFile, LeasedParts, Round]) -> None:
    file, parts, round_ = trained

    def lost() -> None:
        raise LeaseLostError("taken over")

    process = TrainingProcess(file, parts.lease, Quiet(), lost)
    with pytest.raises(LeaseLostError), process:
        process.start(round_)
        (child,) = _workers()
        list(process.results(wait=True))
    assert not child.is_running()


def _workers() -> list[psutil.Process]:
    return [
        child for child in psutil.Process().children() if "star_al.app.training_worker" in child.cmdline()
    ]
