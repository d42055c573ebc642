"""The batch that a model scores with: measured once, kept for all, and without influence on the results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_al.models import batch_choice
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.batch_choice import UNMEASURED_TOKENS, BatchChoice, choose_batch
from star_al.models.prompts import Prompt
from support.posteriors import EVERY, fit, items, learner, predict
from support.tiny_model import build_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def backbone(model: Path) -> Backbone:
    return load_backbone(str(model), revision=None, dtype="float32", device="cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STAR_AL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "batches"


@pytest.fixture
def measured(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny models are measured, too."""
    monkeypatch.setattr(batch_choice, "SMALLEST_MEASURED", 0)
    return cache


class Clock:
    """Time that passes by reading: so many seconds a token by minibatch."""

    def __init__(self, seconds: dict[int, float], monkeypatch: pytest.MonkeyPatch) -> None:
        self._seconds, self._now = seconds, 0.0
        self.batches: list[int] = []
        monkeypatch.setattr("time.perf_counter", lambda: self._now)

    def read(self, prompts: Sequence[Prompt]) -> None:
        tokens = sum(map(len, prompts))
        size = min((size for size in self._seconds if size >= tokens), default=max(self._seconds))
        self.batches.append(size)
        self._now += tokens * self._seconds[size]


def test_the_fastest_is_taken_and_of_equals_the_smallest(
    backbone: Backbone, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock({384: 3e-6, 768: 2e-6, 1536: 1.99e-6, 3072: 4e-6}, monkeypatch)
    found = choose_batch(backbone, clock.read)
    assert found.tokens == 768
    assert found.microseconds == pytest.approx({384: 3.0, 768: 2.0, 1536: 2.0, 3072: 4.0})
    assert "scores 768 tokens together, the best measured (a token takes 3 µs with 384" in found.in_words()


def test_sizes_that_can_only_be_slower_are_left_out(
    backbone: Backbone, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock({384: 1e-3, 768: 2e-3, 1536: 3e-3, 3072: 4e-3}, monkeypatch)
    assert choose_batch(backbone, clock.read).tokens == 384
    assert set(clock.batches) == {384, 768}


def test_what_does_not_fit_into_memory_is_not_chosen(backbone: Backbone, measured: Path) -> None:
    def read(prompts: Sequence[Prompt]) -> None:
        if len(prompts) > 5:
            raise MemoryError

    assert choose_batch(backbone, read).tokens in (384, 768)


def test_it_is_measured_once_for_a_model_and_its_dtype(
    model: Path, backbone: Backbone, measured: Path
) -> None:
    reads: list[int] = []
    first = choose_batch(backbone, lambda prompts: reads.append(len(prompts)))
    assert reads and len(list(measured.iterdir())) == 1
    reads.clear()
    assert choose_batch(backbone, lambda prompts: reads.append(len(prompts))) == first and not reads
    other = load_backbone(str(model), revision=None, dtype="bfloat16", device="cpu")
    choose_batch(other, lambda prompts: reads.append(len(prompts)))
    assert reads and len(list(measured.iterdir())) == 2


def test_of_processes_that_measure_at_once_the_first_decides_for_all(
    backbone: Backbone, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock({384: 1e-6, 768: 2e-6, 1536: 3e-6, 3072: 4e-6}, monkeypatch)

    def read(prompts: Sequence[Prompt]) -> None:
        clock.read(prompts)
        measured.mkdir(parents=True, exist_ok=True)
        file = measured / f"{batch_choice._key(backbone)}.json"
        file.write_text(json.dumps({"tokens": 1536, "microseconds": {"1536": 1.0}}))

    assert choose_batch(backbone, read) == BatchChoice(1536, {1536: 1.0})


@pytest.mark.parametrize("content", ["", "[]", '{"tokens": 5}', '{"tokens": "x", "microseconds": {}}'])
def test_a_damaged_file_is_measured_again(backbone: Backbone, measured: Path, content: str) -> None:
    measured.mkdir(parents=True)
    (measured / f"{batch_choice._key(backbone)}.json").write_text(content)
    assert choose_batch(backbone, lambda _: None).microseconds


def test_a_small_model_is_not_measured(backbone: Backbone, cache: Path) -> None:
    assert choose_batch(backbone, lambda _: pytest.fail("read")) == BatchChoice(UNMEASURED_TOKENS, {})
    assert not cache.exists()


def test_a_learner_measures_and_records_what_it_uses(model: Path, measured: Path) -> None:
    one = learner(model)
    assert "batch_tokens" not in one.versions()  # not loaded yet
    found = one.scoring_batch()
    assert found.tokens in (384, 768, 1536, 3072) and one.versions()["batch_tokens"] == found.tokens


def test_what_the_settings_or_earlier_rounds_say_is_not_measured(model: Path, measured: Path) -> None:
    assert learner(model, model={"batch_tokens": 300}).scoring_batch() == BatchChoice(300, {})
    assert learner(model, batches={"cpu": 500}).scoring_batch() == BatchChoice(500, {})
    of_another_device = learner(model, batches={"NVIDIA H200": 500}).scoring_batch()
    assert of_another_device.microseconds
    fixed = learner(model, model={"batch_tokens": 300}, batches={"cpu": 500})
    assert fixed.scoring_batch().tokens == 300


@pytest.mark.parametrize("name", ["map", "laplace", "clora"])
def test_every_size_that_may_be_chosen_gives_the_same_predictions(
    model: Path, name: str, tmp_path: Path
) -> None:
    texts = [replace(item, text=f"{item.text} {index * 37}") for index, item in enumerate(items(60))]
    one = learner(model, EVERY[name], model={"batch_tokens": 64})
    folder = fit(one, tmp_path / "fitted")
    expected = predict(one, folder, texts)
    for size in (384, 768, 1536, 3072, UNMEASURED_TOKENS):
        found = predict(learner(model, EVERY[name], model={"batch_tokens": size}), folder, texts)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert most_uncertain(found) == most_uncertain(expected)


def most_uncertain(log_probs_N_K_C: Any) -> list[int]:
    mean_N_C = np.exp(log_probs_N_K_C).mean(axis=1)
    return np.argsort(np.sum(mean_N_C * np.log(mean_N_C), axis=1))[:20].tolist()  # type: ignore[no-any-return]
