"""What ``gpu_check.py`` checks of a device: each part returns what it measured, or raises an ``AssertionError``."""

from __future__ import annotations

import gc
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import numpy as np
import torch

from star_al.artefacts.folder import content_hash
from star_al.errors import OutOfMemoryError
from star_al.models.backbone import load_backbone
from star_al.models.collate import collate
from star_al.models.devices import DTYPES, resolve_dtype
from star_al.models.learner import LoraLearner
from star_al.models.lora import attached, lora_layers
from star_al.models.targets import answered
from star_al.models.training_loss import training_loss
from support.posteriors import EVERY, fit, items, learner, predict
from support.quantised_models import INT8, NF4, dequantised, quantise
from support.tiny_model import build_tiny_model

Measured = Mapping[str, Any]

QUIET = {"dropout": 0.0, "epochs": 2, "learning_rate": 1e-3}
"""Training without random numbers, which CPU and GPU draw differently."""


class SkippedError(Exception):
    """A part cannot run here; says why."""


@dataclass(frozen=True)
class Place:
    """Where the parts run.

    Attributes:
        device: The device.
        folder: A folder for what is made.
    """

    device: torch.device
    folder: Path

    @property
    def model(self) -> Path:
        """A tiny random model."""
        folder = self.folder / "model"
        return folder if folder.exists() else build_tiny_model(folder)

    def learner(self, name: str = "map", *, device: str | None = None, **sections: Any) -> LoraLearner:
        """Return a learner of the tiny model."""
        folder = sections.pop("folder", None) or self.model
        model = {"device": device or str(self.device), "batch_tokens": 2048, **sections.pop("model", {})}
        return learner(folder, EVERY[name], model=model, **sections)

    def fit(self, one: LoraLearner, n: int = 8) -> Path:
        """Train on ``n`` texts in a new folder."""
        return fit(one, Path(tempfile.mkdtemp(dir=self.folder)) / "adapter", n=n)


def device(place: Place) -> Measured:
    """The device and what ``dtype: auto`` chooses on it."""
    found: dict[str, Any] = {"torch": torch.__version__, "dtype auto": resolve_dtype("auto", place.device)}
    if place.device.type == "cuda":
        properties = torch.cuda.get_device_properties(place.device)
        found |= {
            "name": properties.name,
            "GB": round(properties.total_memory / 1e9, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "GPUs": torch.cuda.device_count(),
            "CUDA": torch.version.cuda,
        }
    return found


def float32(place: Place) -> Measured:
    """Scores and an adapter in float32 are those of a CPU."""
    here, there = place.learner(adapter=QUIET), place.learner(adapter=QUIET, device="cpu")
    base = np.abs(predict(here, None) - predict(there, None)).max()
    assert base < 1e-3, f"scores of the base model differ by {base:g}"
    trained = np.abs(predict(here, place.fit(here)) - predict(there, place.fit(there))).max()
    assert trained < 1e-2, f"scores after training differ by {trained:g}"
    return {"base, largest difference": float(base), "trained": float(trained)}


def bfloat16(place: Place) -> Measured:
    """Scores in bfloat16 are near those in float32."""
    half, whole = (place.learner(dtype=dtype, adapter=QUIET) for dtype in ("bfloat16", "float32"))
    assert half.backbone.readout.dtype == DTYPES["bfloat16"]
    difference = np.abs(np.exp(predict(half, None)) - np.exp(predict(whole, None))).max()
    assert difference < 0.05, f"probabilities of the base model differ by {difference:g}"
    return {"base, largest difference of probabilities": float(difference)}


def autocast(place: Place) -> Measured:
    """With autocast, the loss and the gradients of A and B are float32 and near those without it."""
    losses, gradients = {}, {}
    for dtype in ("float32", "bfloat16"):
        one = place.learner(dtype=dtype, adapter=QUIET)
        targets = [answered(prompt, place_ % 4) for place_, prompt in enumerate(one.model.encode(items()))]
        _ = one.backbone.readout  # checked while the model is bare
        with attached(one.backbone.model, one._spec.adapter) as model:
            generator = torch.Generator().manual_seed(0)
            for layer in lora_layers(model).values():
                b = layer.lora_B["default"].weight
                b.data = (0.1 * torch.randn(b.shape, generator=generator)).to(b.device)
                a = layer.lora_A["default"].weight
                a.data = (0.1 * torch.randn(a.shape, generator=generator)).to(a.device)
            loss = training_loss(one.backbone, model, targets)
            loss.backward()
            own = [p.grad for p in model.parameters() if p.grad is not None]
            assert loss.dtype == torch.float32 and {gradient.dtype for gradient in own} == {torch.float32}
            losses[dtype] = loss.item()
            gradients[dtype] = torch.cat([gradient.reshape(-1) for gradient in own]).cpu()
    cosine = torch.cosine_similarity(gradients["float32"], gradients["bfloat16"], dim=0).item()
    difference = abs(losses["float32"] - losses["bfloat16"])
    assert difference < 0.05 and cosine > 0.98, f"losses differ by {difference:g}, cosine {cosine:.3f}"
    return {"difference of losses": difference, "cosine of gradients": cosine}


def same_bytes(place: Place) -> Measured:
    """Two trainings write the same bytes, and two readings give the same scores."""
    one, again = place.learner("mc_dropout"), place.learner("mc_dropout")
    folders = [place.fit(one), place.fit(again)]
    assert content_hash(folders[0]) == content_hash(folders[1]), "two trainings differ"
    scores = [predict(each, folder) for each, folder in zip((one, again), folders, strict=True)]
    assert np.array_equal(*scores), "two readings differ"
    return {}


def gradients_in_parts(place: Place) -> Measured:
    """Checkpointing changes no byte, and accumulation nothing but rounding."""
    plain, again, parts = (
        place.learner(adapter={**QUIET, "training": training})
        for training in ({}, {"gradient_checkpointing": True}, {"gradient_accumulation": 4})
    )
    folders = [place.fit(each) for each in (plain, again, parts)]
    assert content_hash(folders[0]) == content_hash(folders[1]), "checkpointing changes the adapter"
    difference = np.abs(predict(plain, folders[0]) - predict(parts, folders[2])).max()
    assert difference < 1e-2, f"scores after accumulation differ by {difference:g}"
    return {"accumulation, largest difference": float(difference)}


def pinned_transfer(place: Place) -> Measured:
    """What is sent without waiting arrives whole, also while the device is busy."""
    one = place.learner()
    prompts = one.model.encode(items(64))
    readout = one.backbone.readout
    on_cpu = place.learner(device="cpu").backbone.readout
    busy = torch.randn(1024, 1024, device=place.device)
    for _ in range(20):
        busy = (busy @ busy).clamp(-1, 1)
        batch, expected = collate(prompts, readout), collate(prompts, on_cpu)
        assert batch.ids_R_S.device.type == place.device.type
        assert torch.equal(batch.ids_R_S.cpu(), expected.ids_R_S), "tokens were lost on the way"
    return {}


def every_posterior(place: Place) -> Measured:
    """Each kind of posterior trains and predicts probabilities."""
    for name in EVERY:
        one = place.learner(name)
        scores = predict(one, place.fit(one))
        total = np.abs(np.exp(scores).sum(axis=-1) - 1).max()
        assert np.isfinite(scores).all() and total < 1e-4, f"{name}: probabilities sum to 1 ± {total:g}"
    return {"kinds": len(EVERY)}


def scoring_out_of_memory(place: Place) -> Measured:
    """Where a batch does not fit, smaller ones give the same scores."""
    on_gpu = place.device.type == "cuda"
    texts = items(4000 if on_gpu else 400)
    one = place.learner(model={"batch_tokens": 2**20})
    _ = one.model.inference
    with peak(place.device) as needed:
        expected = predict(one, None, texts)
    with room(place.device, needed[0] // 3) if on_gpu else small_batches(one):
        found = predict(one, None, texts)
    left = one.model.inference._minibatch_tokens
    assert left < 2**20, "the whole batch fitted, so that nothing was tested"
    assert np.abs(found - expected).max() < 1e-3, "smaller batches give other scores"
    return {"batch that fitted, tokens": left}


def training_out_of_memory(place: Place) -> Measured:
    """A training that does not fit says so, and the device works on."""
    if place.device.type != "cuda":
        raise SkippedError("a CPU's memory is not filled for a test")
    one = place.learner(adapter={**QUIET, "batch_size": 512})
    _ = one.model.inference
    with peak(place.device) as needed:
        place.fit(one, 512)
    try:
        with room(place.device, needed[0] // 4):
            place.fit(one, 512)
    except OutOfMemoryError as exc:
        assert "adapter.batch_size" in str(exc)
    else:
        raise AssertionError("a training with a quarter of the memory did not run out of it")
    place.fit(one, 512)
    return {"a training takes, MB": round(needed[0] / 1e6)}


@contextmanager
def peak(device: torch.device) -> Iterator[list[int]]:
    """Measure the bytes that the block takes on a GPU: the first entry of the list, afterwards."""
    found: list[int] = []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    yield found
    found.append(torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else 0)


@contextmanager
def room(device: torch.device, size: int) -> Iterator[None]:
    """Within, the GPU has room for so many bytes more."""
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(device) + size) / total, device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@contextmanager
def small_batches(one: LoraLearner) -> Iterator[None]:
    """Within, large batches fail as if memory were full."""

    def fail(_: object, __: object, out: torch.Tensor) -> None:
        if out.shape[0] * out.shape[1] > 2**12:
            raise torch.OutOfMemoryError("as if it were full")

    hook = one.backbone.model.model.norm.register_forward_hook(fail)
    try:
        yield
    finally:
        hook.remove()


def quantised(place: Place) -> Measured:
    """On 4 and 8 bits of bitsandbytes, training and scores are those on the dequantised weights."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise SkippedError("bitsandbytes is not installed (star-al[quantised])")
    found = {}
    for name, settings, most in (("nf4", NF4, 0.01), ("int8", INT8, 0.05)):
        folder = quantise(place.model, place.folder / name, device=str(place.device), **settings)
        here, there = (place.learner(folder=each, adapter=QUIET) for each in (folder, dequantised(folder)))
        scores = [np.exp(predict(each, place.fit(each))) for each in (here, there)]
        difference = np.abs(scores[0] - scores[1]).mean()
        assert difference < most, f"{name}: probabilities differ by {difference:g} in the mean"
        found[f"{name}, mean difference of probabilities"] = float(difference)
    saved = quantise(
        place.model,
        place.folder / "double",
        device=str(place.device),
        **NF4 | {"bnb_4bit_use_double_quant": True},
    )
    loaded = place.learner(adapter=QUIET, model={"quantise": "4bit"})
    scores = [np.exp(predict(each, None)) for each in (loaded, place.learner(folder=saved, adapter=QUIET))]
    difference = np.abs(scores[0] - scores[1]).max()
    assert difference < 1e-3, f"quantised when loaded: probabilities differ by {difference:g}"
    return found


def spread(place: Place) -> Measured:
    """A base model whose blocks are spread over two GPUs trains and samples as on one."""
    if place.device.type != "cuda" or torch.cuda.device_count() < 2:
        raise SkippedError("this machine has fewer than two GPUs")
    found = {}
    for name in ("clora", "ensemble", "laplace"):
        one, two = (place.learner(name, adapter=QUIET, model={"gpus": gpus}) for gpus in (1, 2))
        difference = np.abs(predict(one, place.fit(one)) - predict(two, place.fit(two))).max()
        assert difference < 1e-2, f"{name}: scores differ by {difference:g}"
        found[f"{name}, largest difference"] = float(difference)
    return found


def two_processes(place: Place) -> Measured:
    """Two processes train what one trains, with the base model whole and divided."""
    if place.device.type == "cuda" and torch.cuda.device_count() < 2:
        raise SkippedError("this machine has one GPU")
    alone = place.learner(adapter=QUIET)
    expected = predict(alone, place.fit(alone))
    found = {}
    for strategy in ("ddp", "fsdp"):
        one = place.learner(adapter={**QUIET, "training": {"processes": 2, "strategy": strategy}})
        difference = np.abs(predict(one, place.fit(one)) - expected).max()
        assert difference < 1e-2, f"{strategy}: scores differ by {difference:g}"
        found[f"{strategy}, largest difference"] = float(difference)
    return found


def prefix_and_lengths(place: Place) -> Measured:
    """What the model was found to support, and that a text's score does not depend on its neighbours."""
    backbone = load_backbone(str(place.model), revision=None, dtype="float32", device=str(place.device))
    readout = backbone.readout
    one, texts = place.learner(), items(24)
    together = predict(one, None, texts)
    apart = np.concatenate([predict(one, None, [text]) for text in texts])
    difference = np.abs(together - apart).max()
    assert difference < 1e-3, f"scores depend on the batch: {difference:g}"
    return {
        "packing": readout.supports_packing,
        "prefix": readout.supports_prefix,
        "alone or together, largest difference": float(difference),
    }


CORRECTNESS: Mapping[str, Callable[[Place], Measured]] = {
    "device": device,
    "float32": float32,
    "bfloat16": bfloat16,
    "autocast": autocast,
    "same bytes": same_bytes,
    "gradients in parts": gradients_in_parts,
    "pinned transfer": pinned_transfer,
    "batches": prefix_and_lengths,
    "scoring out of memory": scoring_out_of_memory,
    "training out of memory": training_out_of_memory,
    "every posterior": every_posterior,
    "quantised": quantised,
    "spread": spread,
    "two processes": two_processes,
}
