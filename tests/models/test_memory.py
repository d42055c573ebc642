"""Running out of memory is reported as such, on CUDA and on a CPU; scoring goes on with smaller batches."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from star_al.artefacts.folder import content_hash
from star_al.errors import ModelError, OutOfMemoryError
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.learner import LoraLearner
from star_al.models.out_of_memory import is_out_of_memory, translate_out_of_memory
from support.posteriors import EVERY, fit, ignore, items, learner, predict
from support.tiny_model import build_tiny_model


def on_cuda() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def on_a_cpu() -> None:
    torch.empty(2**60, dtype=torch.uint8, device="cpu")


KINDS: dict[str, Callable[[], None]] = {"cuda": on_cuda, "cpu": on_a_cpu}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


@contextmanager
def each_forward(one: LoraLearner, see: Callable[[torch.Tensor], None]) -> Iterator[None]:
    """Call ``see`` with the last hidden states (sequences, tokens, d) of each forward pass."""
    _ = one.model.inference  # its checks run the model too, and so does the probe of a length
    one.backbone.readout.lengths.longest(256)
    hook = one.backbone.model.model.norm.register_forward_hook(lambda _, __, out: see(out))
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_distinguished_from_other_errors(kind: str) -> None:
    with pytest.raises(OutOfMemoryError, match="no room") as caught, translate_out_of_memory("no room"):
        KINDS[kind]()
    assert is_out_of_memory(caught.value.__cause__)  # type: ignore[arg-type]
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")
    )
    other = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError) as passed, translate_out_of_memory("no room"):
        raise other
    assert passed.value is other


# -- scoring -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1, 3])
def test_smaller_batches_give_the_same_answer_and_few_fail(model: Path, kind: str, limit: int) -> None:
    """Of many forward passes, only as many fail as the first batch can be halved."""
    posterior = EVERY["map"]
    texts = items(60)
    passed: list[int] = []
    failed: list[int] = []

    def small_device(hidden: torch.Tensor) -> None:
        (failed if len(hidden) > limit else passed).append(len(hidden))
        if len(hidden) > limit:
            KINDS[kind]()

    whole, halved = (learner(model, posterior, model={"batch_tokens": 300}) for _ in range(2))
    reads: tuple[Callable[[LoraLearner], Any], ...] = (
        lambda one: predict(one, None, texts),
        lambda one: one.embed(None, texts, ignore),
    )
    for read in reads:
        expected = read(whole)
        with each_forward(halved, small_device):
            np.testing.assert_allclose(read(halved), expected, atol=1e-5)
        assert 1 <= len(failed) <= max(failed).bit_length() <= 7
        assert len(passed) >= 60 / limit and limit / 2 < max(passed) <= limit
        passed.clear()
        failed.clear()


@pytest.mark.parametrize("name", ["map", "clora", "laplace"])
def test_nothing_of_a_failed_pass_is_alive_at_the_next(name: str, model: Path, tmp_path: Path) -> None:
    one = learner(model, EVERY[name])
    folder = fit(one, tmp_path / "a")
    failed: list[weakref.ref[torch.Tensor]] = []

    def small_device(hidden: torch.Tensor) -> None:
        assert all(ref() is None for ref in failed)
        if len(hidden) > 1:
            failed.append(weakref.ref(hidden))
            raise torch.OutOfMemoryError

    gc.collect()
    gc.disable()  # the device's memory is full now, not when the collector comes round
    try:
        with each_forward(one, small_device):
            predict(one, folder)
    finally:
        gc.enable()
    assert len(failed) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_one_item_that_does_not_fit_is_named(model: Path, kind: str) -> None:
    one = learner(model, EVERY["map"])
    message = r"item id\d+ does not fit into the memory of cpu\. Set another model\.device"
    with each_forward(one, lambda _: KINDS[kind]()), pytest.raises(OutOfMemoryError, match=message):
        predict(one, None)


def test_a_sample_that_does_not_fit_is_reported(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = learner(model, EVERY["clora"])
    folder = fit(one, tmp_path / "a")
    monkeypatch.setattr("star_al.models.posterior.clora._SampledBranch.__init__", lambda *_: on_cuda())
    with pytest.raises(OutOfMemoryError, match=r"sample of the adapter does not fit into the memory of cpu"):
        predict(one, folder)


# -- training ----------------------------------------------------------------------------------------------


SMALL = {"epochs": 1, "batch_size": 40}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(EVERY))
def test_each_pass_of_a_fit_may_run_out(
    name: str, kind: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported, unless the pass belongs to the last check, which is repeated in smaller batches."""
    monkeypatch.setattr("star_al.models.posterior.tfb._HALVINGS", 1)
    monkeypatch.setattr("star_al.models.posterior.clora.CANDIDATES", (1e-2, 1e-3))
    one = learner(model, EVERY[name], adapter=SMALL)
    expected = content_hash(fit(one, tmp_path / "whole", n=40))
    passes = one.training_steps(40)
    told: list[int] = []
    for at in range(1, passes + 2):

        def fail_once(_: torch.Tensor, at: int = at, count: Any = itertools.count(1)) -> None:  # noqa: B008
            if next(count) == at:
                KINDS[kind]()

        with each_forward(one, fail_once):
            try:
                folder = fit(one, tmp_path / str(at), n=40)
            except OutOfMemoryError as exc:
                assert "memory of cpu" in str(exc) or "out of memory on cpu. Lower adapter.batch" in str(exc)
                told.append(at)
            else:
                assert content_hash(folder) == expected
    assert told == list(range(1, passes + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_check_does_not_blame_the_learning_rate(model: Path, tmp_path: Path, kind: str) -> None:
    one = learner(model, EVERY["map"], adapter=SMALL)
    count = itertools.count(1)

    def after_training(_: torch.Tensor) -> None:
        if next(count) > 2:  # the first pass finds out which layers a text reaches, the second trains
            KINDS[kind]()

    with each_forward(one, after_training), pytest.raises(OutOfMemoryError) as caught:
        fit(one, tmp_path / "a")
    assert str(caught.value).startswith("item id") and "learning_rate" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_does_not_fit_is_reported(
    model: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> Backbone:
        return load_backbone(str(model), revision=None, dtype="float32", device="cpu")

    with (
        monkeypatch.context() as patch,
        pytest.raises(ModelError, match=r"loaded: .*\. Set model\.quantise, model\.gpus or another model\.d"),
    ):
        patch.setattr(torch.nn.Module, "to", lambda *_: KINDS[kind]())
        _ = load().model
    monkeypatch.setattr("star_al.models.backbone.open_readout", lambda _: KINDS[kind]())
    with pytest.raises(OutOfMemoryError, match=r"runs out of memory on cpu\. Set another model\.device"):
        _ = load().readout
