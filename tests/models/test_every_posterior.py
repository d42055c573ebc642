"""The contract of ``star_al.models.posterior``, checked for every method."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from star_al.acquire.measures import bald
from star_al.artefacts.folder import content_hash
from star_al.errors import ModelError
from star_al.models.collate import collate
from star_al.models.learner import LoraLearner
from star_al.models.likelihood import label_log_likelihoods
from star_al.models.minibatch import Minibatch
from star_al.models.posterior import Training
from star_al.types import FloatArray
from support.posteriors import EVERY, examples, fit, ignore, items, learner, predict
from support.tiny_model import build_tiny_model

Trained = tuple[LoraLearner, Path]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=sorted(EVERY))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def trained(name: str, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    one = learner(model, EVERY[name])
    return one, fit(one, tmp_path_factory.mktemp("adapters") / "a")


@pytest.fixture
def own_copy(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the artefact that a test may damage."""
    return shutil.copytree(trained[1], tmp_path / "own")


def test_a_fresh_learner_reads_the_same_scores(trained: Trained, name: str, model: Path) -> None:
    one, folder = trained
    fresh = learner(model, EVERY[name])
    for mean in (True, False):
        expected = predict(one, folder, mean=mean)
        np.testing.assert_array_equal(predict(fresh, folder, mean=mean), expected)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(np.exp(expected).sum(axis=-1), 1.0)


def test_other_batches_give_the_same_scores(trained: Trained, name: str, model: Path) -> None:
    one, folder = trained
    whole = predict(one, folder)
    for budget in (64, 300):
        other = learner(model, EVERY[name], model={"batch_tokens": budget})
        np.testing.assert_allclose(predict(other, folder, items()[::-1])[::-1], whole, atol=1e-5)


def test_other_batches_give_nearly_the_same_in_bfloat16(trained: Trained, name: str, model: Path) -> None:
    _, folder = trained
    whole = predict(learner(model, EVERY[name], dtype="bfloat16"), folder)
    small = learner(model, EVERY[name], dtype="bfloat16", model={"batch_tokens": 64})
    divergence = (np.exp(whole) * (whole - predict(small, folder))).sum(axis=-1)
    assert np.abs(divergence).max() < 0.005


def test_a_sample_is_one_function_and_others_are_other_functions(trained: Trained, name: str) -> None:
    one, folder = trained
    whole, again = predict(one, folder), predict(one, folder)
    np.testing.assert_array_equal(whole, again)
    np.testing.assert_allclose(predict(one, folder, items()[3:5]), whole[3:5], atol=1e-5)
    if whole.shape[1] == 1:
        assert EVERY[name]["kind"] == "map"
        return
    assert np.abs(whole[:, 0] - whole[:, 1]).max() > 1e-4
    assert bald(whole).max() > 0
    some = one.predict(folder, items(), draws=range(1, 2), seed=0, advance=ignore).log_probs_N_K_C
    np.testing.assert_array_equal(some, whole[:, 1:2])


def test_the_same_sample_many_times_has_no_information(trained: Trained) -> None:
    one, folder = trained
    posterior = one._method.load(folder, json.loads((folder / "star_al.json").read_text()))
    batch = collate([one.prompts.encode(item) for item in items()], one.backbone.readout)

    def score(batch: Minibatch) -> torch.Tensor:
        return label_log_likelihoods(one.backbone.readout, batch)

    def log_probs() -> FloatArray:
        with torch.inference_mode(), posterior.draw(one.backbone, score, 5, 1) as drawn:
            return drawn(batch).double().log_softmax(dim=-1).numpy()

    assert (bald(np.stack([log_probs() for _ in range(4)], axis=1)) == 0).all()


def state_of(one: LoraLearner) -> dict[str, Any]:
    """The state of the model and of torch that a posterior must not change."""
    model = one.backbone.model
    return {
        "weights": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "parameters": {name: (id(p), p.requires_grad) for name, p in model.named_parameters()},
        "modules": [
            (
                name,
                type(module),
                module.training,
                "forward" in vars(module),
                list(module._forward_hooks),
                list(module._forward_pre_hooks),
                list(module._backward_hooks),
            )
            for name, module in model.named_modules()
        ],
        "peft": "peft_config" in vars(model),
        "random": torch.get_rng_state(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def same_state(left: dict[str, Any], right: dict[str, Any]) -> bool:
    weights = [left.pop("weights"), right.pop("weights")]
    random = [left.pop("random"), right.pop("random")]
    assert left == right and weights[0].keys() == weights[1].keys()
    return torch.equal(*random) and all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def stop_at(count: int) -> Callable[..., None]:
    """Return a function that is interrupted at its ``count``-th call."""
    calls = itertools.count(1)

    def stop(*_: Any, **__: Any) -> None:
        if next(calls) == count:
            raise KeyboardInterrupt

    return stop


def test_the_model_is_bitwise_what_it_was(name: str, model: Path, tmp_path: Path) -> None:
    one = learner(model, EVERY[name])
    base = predict(one, None)
    before = state_of(one)
    folder = fit(one, tmp_path / "a")
    predict(one, folder)
    assert same_state(state_of(one), before)
    np.testing.assert_array_equal(predict(one, None), base)


def test_an_interrupted_sample_leaves_the_model(trained: Trained) -> None:
    one, folder = trained
    posterior = one._method.load(folder, json.loads((folder / "star_al.json").read_text()))
    batch = collate([one.prompts.encode(item) for item in items()], one.backbone.readout)

    def score(batch: Minibatch) -> torch.Tensor:
        label_log_likelihoods(one.backbone.readout, batch)
        raise KeyboardInterrupt

    for sample in (None, 1):
        before = state_of(one)
        with pytest.raises(KeyboardInterrupt), posterior.draw(one.backbone, score, 5, sample) as drawn:
            drawn(batch)
        assert same_state(state_of(one), before)


@pytest.mark.parametrize("step", [1, 3])
def test_an_interrupted_training_leaves_the_model(trained: Trained, tmp_path: Path, step: int) -> None:
    one, _ = trained
    before = state_of(one)
    with pytest.raises(KeyboardInterrupt):
        one.fit(examples(24), seed=0, folder=tmp_path, parent=None, advance=stop_at(step))
    assert same_state(state_of(one), before)


def test_an_interrupted_refinement_leaves_the_model(
    name: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is interrupted in the second pass over the model, for methods whose refinement has one."""
    one = learner(model, EVERY[name])
    if not hasattr(one._method, "refine") or EVERY[name]["kind"] in ("map", "mc_dropout"):
        return
    folder = fit(learner(model, EVERY["map"]), tmp_path / "a")
    prompts = [(one.prompts.encode(item), index % 4) for index, item in enumerate(items(40))]
    training = Training(one.backbone, prompts, one._spec.adapter, "tiny", 0, None, ignore)
    readout = one.backbone.readout
    before, hidden, stop = state_of(one), readout.hidden, stop_at(2)

    def interrupted(*args: Any, **kwargs: Any) -> torch.Tensor:
        out = hidden(*args, **kwargs)
        stop()
        return out

    monkeypatch.setattr(readout, "hidden", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one._method.refine(training, folder)
    assert same_state(state_of(one), before)


def test_the_same_seed_writes_the_same_bytes(
    trained: Trained, name: str, model: Path, tmp_path: Path
) -> None:
    one, folder = trained
    state = torch.get_rng_state()
    assert content_hash(fit(one, tmp_path / "again")) == content_hash(folder)
    assert content_hash(fit(learner(model, EVERY[name]), tmp_path / "fresh")) == content_hash(folder)
    assert content_hash(fit(one, tmp_path / "other", seed=1)) != content_hash(folder)
    assert torch.equal(torch.get_rng_state(), state)


def test_progress_reaches_at_most_what_was_announced(trained: Trained, tmp_path: Path) -> None:
    one, _ = trained
    seen: list[int] = []
    one.fit(examples(), seed=0, folder=tmp_path, parent=None, advance=seen.append)
    announced = one.training_steps(len(examples()))
    # C-LoRA's and TFB's searches may end early where a candidate diverges or nothing is found; not here.
    assert sum(seen) == announced


def test_a_warm_start_begins_where_the_parent_ended(trained: Trained, tmp_path: Path) -> None:
    """With tiny steps, the warm start predicts like its parent and a fresh start does not."""
    one, parent = trained
    still = learner(
        one.backbone.folder,
        one._spec.posterior.model_dump(),
        adapter={"learning_rate": 1e-9, "weight_decay_b": 0.0},
    )
    expected = predict(one, parent, mean=True)
    warm = predict(still, fit(still, tmp_path / "warm", parent=parent), mean=True)
    fresh = predict(still, fit(still, tmp_path / "fresh"), mean=True)
    assert np.abs(warm - expected).max() < 1e-2 < np.abs(fresh - expected).max()


# -- files -------------------------------------------------------------------------------------------------


def tensors_of(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*.safetensors")):
        yield from ((path, name) for name in sorted(load_file(path)))


@pytest.mark.parametrize("value", [torch.nan, torch.inf], ids=["nan", "infinity"])
def test_a_number_that_is_none_names_its_layer(trained: Trained, own_copy: Path, value: float) -> None:
    one, _ = trained
    for path, name in tensors_of(own_copy):
        content = path.read_bytes()
        tensors = load_file(path)
        tensors[name].view(-1)[-1] = value
        save_file(tensors, path)
        layer = re.search(r"layers\.\d+\.\w+\.\w+_proj", name)
        with pytest.raises(ModelError, match=re.escape(layer[0] if layer else name)):
            predict(one, own_copy, items(1))
        path.write_bytes(content)
    assert np.isfinite(predict(one, own_copy, items(1))).all()


@pytest.mark.parametrize("damage", ["missing", "truncated", "garbage"])
def test_a_damaged_file_is_a_clear_error(trained: Trained, own_copy: Path, damage: str) -> None:
    one, _ = trained
    for path in sorted(path for path in own_copy.rglob("*") if path.is_file()):
        content = path.read_bytes()
        path.unlink()
        if damage != "missing":
            path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"\x00garbage")
        with pytest.raises(ModelError, match=re.escape(path.name)):
            predict(one, own_copy, items(1))
        path.write_bytes(content)


READ: dict[str, tuple[str, ...]] = {
    "map": (),
    "mc_dropout": ("dropout",),
    "ensemble": ("members",),
    "laplace": ("prior_precision", "predictive"),
    "clora": ("context",),
    "tfb": ("sigma",),
}
"""Record keys that scores depend on, in extension to those of every adapter."""


def test_a_damaged_record_is_a_clear_error(trained: Trained, own_copy: Path) -> None:
    one, _ = trained
    path = own_copy / "star_al.json"
    record = json.loads(path.read_text())
    for key in READ[record["kind"]]:
        rest = {name: value for name, value in record.items() if name != key}
        wrong: tuple[object, ...] = (None, "x", -1, True, [], {}, math.nan, math.inf, 10**400)
        for damaged in (rest, *(rest | {key: value} for value in wrong)):
            path.write_text(json.dumps(damaged))
            with pytest.raises(ModelError, match=rf"{re.escape(str(path))}: .*\({key} is "):
                predict(one, own_copy, items(1))
    for key in ("kind", "format", "model_key"):
        path.write_text(json.dumps({name: value for name, value in record.items() if name != key}))
        with pytest.raises(ModelError, match=re.escape(str(own_copy))):
            predict(one, own_copy, items(1))
    for key, value in (("dropout", 1), ("members", 0), ("members", 1.5), ("prior_precision", 0)):
        if key in record:
            path.write_text(json.dumps(record | {key: value}))
            with pytest.raises(ModelError, match=rf"star_al\.json: .*\({key} is {value}"):
                predict(one, own_copy, items(1))


def test_an_artefact_of_another_kind_is_refused(trained: Trained, model: Path) -> None:
    one, folder = trained
    kind = one._spec.posterior.kind
    other = learner(model, EVERY["mc_dropout" if kind == "map" else "map"])
    with pytest.raises(ModelError, match=f"an adapter of kind '{kind}'"):
        predict(other, folder, items(1))


def test_files_name_no_machine_path(trained: Trained, model: Path) -> None:
    _, folder = trained
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert all(str(model).encode() not in path.read_bytes() for path in files)
    assert all(path.suffix in (".json", ".safetensors") for path in files)


def test_nothing_is_printed(trained: Trained, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one, _ = trained
    predict(one, fit(one, tmp_path / "a"))
    assert capfd.readouterr() == ("", "")


def test_training_on_one_example_works(trained: Trained, tmp_path: Path) -> None:
    one, _ = trained
    folder = tmp_path / "a"
    folder.mkdir()
    one.fit(examples(1), seed=0, folder=folder, parent=None, advance=ignore)
    assert np.isfinite(predict(one, folder, items(2))).all()
