"""LoRA ensembles: members, the split of their uncertainty, the decay of their weights."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from scipy.special import rel_entr

from star_al.acquire.measures import bald, predictive_entropy
from star_al.artefacts.folder import ArtefactFolder, content_hash
from star_al.compute.results import ResultFiles
from star_al.compute.tasks import task_of
from star_al.errors import ModelError
from star_al.models.adapter_file import load_adapter
from star_al.models.backbone import Backbone
from star_al.models.collate import collate
from star_al.models.learner import LoraLearner
from star_al.models.likelihood import label_log_likelihoods
from star_al.models.lora import attached, lora_layers
from star_al.models.minibatch import Minibatch
from star_al.models.posterior.ensemble import FunctionDecay, Members
from star_al.models.target_layers import dense_layers
from star_al.ports import Advance, FitMember, MemberFiles, Taught
from star_al.rng import derive_seed
from support.posteriors import LABELS, examples, fit, ignore, items, learner, predict
from support.tiny_model import build_tiny_model

THREE = {"kind": "ensemble", "members": 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def trained(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoraLearner, Path]:
    one = learner(model, THREE)
    return one, fit(one, tmp_path_factory.mktemp("adapters") / "a", seed=4)


def scores(backbone: Backbone, batch: Minibatch) -> torch.Tensor:
    with torch.inference_mode():
        return label_log_likelihoods(backbone.readout, batch)


def members_of(folder: Path, n: int = 3) -> Members:
    return Members(tuple(load_adapter(folder / f"member-{index}") for index in range(n)))


def test_a_member_is_what_ordinary_training_makes_of_its_seed(
    trained: tuple[LoraLearner, Path], model: Path, tmp_path: Path
) -> None:
    _, folder = trained
    point = learner(model, {"kind": "map"})
    for member in range(3):
        alone = fit(point, tmp_path / str(member), seed=derive_seed(4, member, "ensemble/member"))
        (alone / "star_al.json").unlink()
        assert content_hash(alone) == content_hash(folder / f"member-{member}")
    assert len({content_hash(folder / f"member-{member}") for member in range(3)}) == 3


@pytest.mark.parametrize("output", ["label_names", "classifier"])
def test_members_trained_by_another_process_are_the_same_to_the_last_byte(
    output: str, model: Path, tmp_path: Path
) -> None:
    """What is sent there and back is plain values and files."""
    adapter = {"output": output, "warm_start": True}
    taught = Taught(items()[:3], np.full((3, len(LABELS)), 1 / len(LABELS)), 0.3)
    here, there, worker = (learner(model, THREE, adapter=adapter) for _ in range(3))
    results, sent = ResultFiles(ArtefactFolder(tmp_path / "artefacts"), "1"), list[str]()

    def elsewhere(jobs: Iterable[FitMember], advance: Advance) -> Iterator[MemberFiles]:
        for job in jobs:
            task = pickle.loads(pickle.dumps(task_of(job, None)))
            sent.append(task.key("order"))
            files: Any = results.read(results.write(sent[-1], task.job(job.folder).run(worker, advance)))
            yield files

    there.elsewhere = elsewhere
    steps: dict[str, list[int]] = {"here": [], "there": []}
    parent: dict[str, Path | None] = {"here": None, "there": None}
    for round_ in range(2):  # the second one starts from the first
        for name, one in (("here", here), ("there", there)):
            folder = tmp_path / f"{name}-{round_}"
            folder.mkdir()
            one.fit(
                examples(),
                seed=round_,
                folder=folder,
                parent=parent[name],
                advance=steps[name].append,
                taught=taught,
            )
            parent[name] = folder
    assert content_hash(tmp_path / "there-1") == content_hash(tmp_path / "here-1")
    assert sum(steps["there"]) == sum(steps["here"]) == 2 * here.training_steps(len(examples()), 3)
    assert len(set(sent)) == 6


def test_frozen_blocks_stay_where_their_activations_are(model: Path, tmp_path: Path) -> None:
    def elsewhere(*_: Any) -> Iterator[MemberFiles]:
        raise AssertionError("sent away")

    one = learner(model, THREE, adapter={"layers": 1})
    one.elsewhere = elsewhere
    fit(one, tmp_path / "a")


def test_uncertainty_splits_into_what_members_share_and_what_they_dispute(
    trained: tuple[LoraLearner, Path],
) -> None:
    """Total = aleatoric + epistemic, and epistemic is the members' mean divergence from their mean."""
    log_probs = predict(*trained)
    mean = np.exp(log_probs).mean(axis=1)
    aleatoric = np.array([[-sum(np.exp(row) * row) for row in rows] for rows in log_probs]).mean(axis=1)
    epistemic = rel_entr(np.exp(log_probs), mean[:, None]).sum(axis=2).mean(axis=1)
    np.testing.assert_allclose(bald(log_probs), epistemic, atol=1e-12)
    np.testing.assert_allclose(predictive_entropy(log_probs), aleatoric + epistemic, atol=1e-12)
    assert epistemic.max() > 1e-4


@pytest.mark.parametrize("member", range(3))
def test_a_merged_member_is_pefts_own_forward(trained: tuple[LoraLearner, Path], member: int) -> None:
    one, folder = trained
    merged = one.predict(folder, items(), draws=range(member, member + 1), seed=0, advance=ignore)
    prompts = [one.prompts.encode(item) for item in items()]
    wrapped = peft.PeftModel.from_pretrained(one.backbone.model, str(folder / f"member-{member}")).eval()
    try:
        expected = scores(one.backbone, collate(prompts, one.backbone.readout)).log_softmax(dim=-1)
    finally:
        wrapped.unload()
    np.testing.assert_allclose(merged.log_probs_N_K_C[:, 0], expected.numpy(), atol=2e-5)


def test_a_merged_member_is_the_unmerged_one_within_the_noise_of_bfloat16(
    trained: tuple[LoraLearner, Path], model: Path
) -> None:
    _, folder = trained
    one = learner(model, THREE, dtype="bfloat16")
    merged = predict(one, folder)[:, 0]
    wrapped = peft.PeftModel.from_pretrained(one.backbone.model, str(folder / "member-0")).eval()
    try:
        prompts = [one.prompts.encode(item) for item in items()]
        batch = collate(prompts, one.backbone.readout)
        apart = scores(one.backbone, batch).double().log_softmax(dim=-1).numpy()
    finally:
        wrapped.unload()
    base = predict(one, None)[:, 0]
    noise, effect = (rel_entr(np.exp(other), np.exp(merged)).sum(axis=-1) for other in (apart, base))
    assert noise.max() < 0.005 and effect.mean() > 20 * noise.mean()


def test_the_mean_is_that_of_the_members_weights(trained: tuple[LoraLearner, Path]) -> None:
    one, folder = trained
    posterior = members_of(folder)
    modules: dict[str, Any] = dict(dense_layers(one.backbone.model))
    pristine = {name: modules[name].weight.clone() for name in posterior.members[0].a}
    with posterior.draw(one.backbone, lambda batch: batch.ids_R_S, 0, None):
        for name, weight in pristine.items():
            deltas = [member.scale * member.b[name] @ member.a[name] for member in posterior.members]
            torch.testing.assert_close(modules[name].weight, weight + sum(deltas) / 3, atol=1e-6, rtol=1e-5)


def test_more_samples_than_members_are_refused(trained: tuple[LoraLearner, Path]) -> None:
    one, folder = trained
    with pytest.raises(ModelError, match="has 3 members, so there is no sample 3"):
        one.predict(folder, items(2), draws=range(4), seed=0, advance=ignore)


def test_steps_are_those_of_all_members(model: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    one, alone = learner(model, THREE), learner(model, {"kind": "map"})
    one.fit(examples(), seed=0, folder=tmp_path, parent=None, advance=seen.append)
    assert sum(seen) == one.training_steps(8) == 3 * alone.training_steps(8)


def test_members_start_from_the_parents_members(
    trained: tuple[LoraLearner, Path], model: Path, tmp_path: Path
) -> None:
    _, parent = trained
    still = learner(model, THREE, adapter={"learning_rate": 1e-12, "weight_decay_b": 0.0})
    child = members_of(fit(still, tmp_path / "a", parent=parent))
    for ours, theirs in zip(child.members, members_of(parent).members, strict=True):
        for name in ours.a:
            torch.testing.assert_close(ours.b[name] @ ours.a[name], theirs.b[name] @ theirs.a[name])
    with pytest.raises(ModelError, match="member-3"):
        fit(learner(model, {"kind": "ensemble", "members": 4}), tmp_path / "b", parent=parent)


def test_an_adopted_ensemble_reads_the_same(trained: tuple[LoraLearner, Path], tmp_path: Path) -> None:
    one, folder = trained
    artefacts = ArtefactFolder(tmp_path)
    with artefacts.stage() as staged:
        fit(one, staged / "x", seed=4).rename(staged.with_suffix(".fit"))
        staged.rmdir()
        staged.with_suffix(".fit").rename(staged)
        adapter = artefacts.adopt(staged, "ensemble")
    assert adapter.sha256 == content_hash(folder)
    assert adapter.size_bytes == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    np.testing.assert_array_equal(predict(one, artefacts.path_of(adapter.sha256)), predict(one, folder))


@pytest.mark.parametrize("members", [None, 0, "3", 4], ids=str)
def test_a_record_that_counts_other_members(
    trained: tuple[LoraLearner, Path], tmp_path: Path, members: object
) -> None:
    one, folder = trained
    record = json.loads((folder / "star_al.json").read_text()) | {"members": members}
    with pytest.raises(ModelError, match=r"members|member-3"):
        one._method.load(folder, record)


# -- decay -------------------------------------------------------------------------------------------------


def test_the_decay_is_the_dense_formula_with_its_gradient(model: Path) -> None:
    one = learner(model, THREE)
    generator = torch.Generator().manual_seed(0)
    with attached(one.backbone.model, one._spec.adapter) as wrapped:
        decay = FunctionDecay(0.7)
        assert list(decay.attach(wrapped)) == []
        layers = lora_layers(wrapped).values()
        halves = [half["default"].weight for layer in layers for half in (layer.lora_A, layer.lora_B)]
        for half in halves:
            half.data = torch.randn(half.shape, generator=generator)
        dense = 0.7 * sum(
            (16 / 4 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight).square().sum()
            for layer in layers
        )
        torch.testing.assert_close(decay.penalty(), dense)
        for ours, theirs in zip(
            torch.autograd.grad(decay.penalty(), halves), torch.autograd.grad(dense, halves), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_strong_decay_keeps_members_near_the_base(model: Path, tmp_path: Path) -> None:
    def size(gamma: float) -> float:
        one = learner(model, THREE | {"function_decay": gamma}, adapter={"epochs": 4})
        posterior = members_of(fit(one, tmp_path / str(gamma)))
        return sum(
            float((member.scale * member.b[name] @ member.a[name]).square().sum())
            for member in posterior.members
            for name in member.a
        )

    free, mild, strong = size(0.0), size(0.1), size(10.0)
    assert strong < 0.1 * free and strong < mild < free
