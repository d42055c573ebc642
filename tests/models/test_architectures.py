"""Architectures of many kinds give what plain transformers and peft give: base, gradient and merged adapter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import sweep_architectures as sweeping
from tiny_architectures import UnbuiltError, architectures, save_tiny

KINDS = {
    "llama": "the usual one",
    "gpt2": "Conv1D, learned positions",
    "gpt_neox": "parallel attention",
    "gpt_neo": "a local window under another name",
    "mistral": "a sliding window in every layer",
    "gemma3": "text and images",
    "gemma3_text": "sliding windows in some layers",
    "gemma3n_text": "activations changed in place",
    "phi3": "fused projections",
    "mixtral": "fused experts, adapted in attention alone",
    "deepseek_v3": "latent attention, shared experts",
    "qwen3_moe": "experts in every layer",
    "olmoe": "experts with normalised queries",
    "gpt_oss": "attention sinks",
    "laguna": "layers that peft saves and does not load",
    "mamba": "state space alone",
    "bamba": "state space and attention",
    "lfm2": "short convolutions",
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logs: Any = transformers.utils.logging
    verbosity = logs.get_verbosity()
    logs.set_verbosity_error()
    yield
    logs.set_verbosity(verbosity)


@pytest.mark.parametrize("model_type", KINDS)
def test_an_architecture_is_exact(model_type: str, tmp_path: Path) -> None:
    save_tiny(tmp_path, model_type, sweeping.build_tokenizer())
    cell = sweeping.examine(tmp_path)
    assert (cell.verdict, cell.note) == ("exact", "")
    assert cell.adapted


def test_a_difference_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tiny(tmp_path, "llama", sweeping.build_tokenizer())
    log_probs = sweeping.plain_log_probs
    monkeypatch.setattr(sweeping, "plain_log_probs", lambda *args: 1.01 * log_probs(*args))
    cell = sweeping.examine(tmp_path)
    assert (cell.verdict, cell.note) == ("wrong", "base, merged, gradient")


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_tiny(tmp_path, "llava", sweeping.build_tokenizer(), causal=False)
    cell = sweeping.examine(tmp_path)
    assert cell.verdict == "refused" and cell.note.startswith("a llava model is no causal language model")


def test_what_cannot_be_built_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnbuiltError, match="KeyError"):
        save_tiny(tmp_path, "no_such_model", sweeping.build_tokenizer())
    assert architectures()["llama"] and not architectures()["llava"]


def test_results_are_kept_and_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def examined(name: str, *, causal: bool) -> sweeping.Cell:
        asked.append(name)
        return sweeping.Cell("exact", base=1e-7, gradient=1e-7, merged=1e-7)

    monkeypatch.setattr(sweeping, "in_own_process", examined)
    out = tmp_path / "sweep.json"
    sweeping.sweep(["llama", "gpt2"], out, 1, lambda _: None)
    found = sweeping.sweep(["gpt2", "mamba"], out, 2, lambda _: None)
    assert asked == ["llama", "gpt2", "mamba"]
    assert sweeping.summary(found["cells"]) == "exact: 3, refused: 0, late: 0, wrong: 0, unbuilt: 0"
    assert "| gpt2 | exact | 1e-07 | 1e-07 | 1e-07 |  |" in sweeping.table(found["cells"])
    assert torch.is_grad_enabled()
