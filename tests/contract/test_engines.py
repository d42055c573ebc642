"""What every engine gives: likelihoods as transformers computes them, and draws that depend on their item alone.

The engine by transformers is tested everywhere, that by vLLM where it is installed beside a GPU.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from star_al.models.engines import Engine, Writing
from star_al.models.posterior import Posterior
from star_al.models.prompts import Prompt
from star_al.models.writing.ending import Ending
from star_al.ports import ignore
from support.posteriors import fit, items, learner, quick
from support.small_models import plain_log_probs, save_small_model, small_config

WIDE: dict[str, Any] = {
    "hidden_size": 128,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 64,
}
"""Heads as wide as vLLM's kernels want them."""


@dataclass(frozen=True)
class Case:
    """An engine with a fitted posterior of two samples.

    Attributes:
        engine: The engine.
        posterior: The posterior.
        prompts: Prompts with labels of several tokens.
        model: The base model's folder.
        tolerance: By how much log-likelihoods may differ from those that transformers computes.
    """

    engine: Engine
    posterior: Posterior
    prompts: list[Prompt]
    model: Path
    tolerance: float


def why_not(engine: str) -> str:
    """Why an engine cannot be tested here; empty if it can."""
    if engine == "transformers":
        return ""
    if importlib.util.find_spec("vllm") is None:
        return "vLLM is not installed"
    return "" if torch.cuda.is_available() else "vLLM needs a GPU, and there is none"


@pytest.fixture(scope="module", params=["transformers", "vllm"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    if why := why_not(request.param):
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("engines")
    model = save_small_model(folder / "model", small_config("Llama", **WIDE, vocab_size=512))
    on_gpu = request.param == "vllm"
    one = learner(
        model,
        quick("mc_dropout", samples=2, dropout=0.5),
        dtype="bfloat16" if on_gpu else "float32",
        model={"engine": request.param, "device": "cuda" if on_gpu else "cpu"},
    )
    artefact = fit(one, folder / "adapter")
    posterior = one._posteriors.load(artefact).posterior
    assert posterior is not None
    yield Case(one.model.engine, posterior, one.model.encode(items(6)), model, 0.15 if on_gpu else 1e-3)


def test_likelihoods_are_those_of_transformers(case: Case) -> None:
    found_N_K_C = case.engine.answer_log_likelihoods(case.prompts, None, [None], 0, ignore)
    plain = transformers.AutoModelForCausalLM.from_pretrained(case.model)
    expected_N_C = plain_log_probs(plain, case.prompts)
    normalised = found_N_K_C[:, 0] - np.logaddexp.reduce(found_N_K_C[:, 0], axis=1, keepdims=True)
    np.testing.assert_allclose(normalised, expected_N_C, atol=case.tolerance)
    assert (found_N_K_C < 0).all()


def test_labels_are_normalised_likelihoods_in_any_batch(case: Case) -> None:
    draws = [None, 0, 1]
    together = case.engine.label_log_probs(case.prompts, case.posterior, draws, 3, ignore)
    assert together.item_ids == tuple(prompt.item_id for prompt in case.prompts)
    likelihoods = case.engine.answer_log_likelihoods(case.prompts, case.posterior, draws, 3, ignore)
    expected = likelihoods - np.logaddexp.reduce(likelihoods, axis=2, keepdims=True)
    np.testing.assert_allclose(together.log_probs_N_K_C, expected, atol=case.tolerance)
    alone = case.engine.label_log_probs(case.prompts[2:3], case.posterior, draws, 3, ignore)
    np.testing.assert_allclose(alone.log_probs_N_K_C[0], together.log_probs_N_K_C[2], atol=case.tolerance)


def test_samples_differ_and_are_the_same_again(case: Case) -> None:
    first, again, other = (
        case.engine.label_log_probs(case.prompts, case.posterior, [0, 1], seed, ignore).log_probs_N_K_C
        for seed in (3, 3, 4)
    )
    np.testing.assert_allclose(first, again, atol=case.tolerance / 10)
    assert np.abs(first[:, 0] - first[:, 1]).max() > case.tolerance / 10
    assert np.abs(first - other).max() > case.tolerance / 10


def test_draws_end_as_they_should_and_are_the_same_again(case: Case) -> None:
    ending = Ending(taught=(2,), tokens=frozenset({2, 7, 11}), text="", tokenizer=None)
    writing = Writing(ending, longest=12, draws=3)
    drawn, again = (
        case.engine.draw_answers(case.prompts, case.posterior, 0, 5, writing, ignore) for _ in range(2)
    )
    assert [[one.tokens for one in own] for own in drawn] == [[one.tokens for one in own] for own in again]
    assert [len(own) for own in drawn] == [3] * len(case.prompts)
    for own in drawn:
        for one in own:
            assert one.is_over == (one.tokens[-1] in ending.tokens)
            assert len(one.tokens) == 12 or one.is_over
            assert not ending.tokens & set(one.tokens[:-1])
    assert len({tuple(one.tokens) for own in drawn for one in own}) > 3


def test_a_draw_has_the_likelihood_that_the_engine_gives_it(case: Case) -> None:
    ending = Ending(taught=(2,), tokens=frozenset({2}), text="", tokenizer=None)
    drawn = case.engine.draw_answers(case.prompts, case.posterior, 1, 5, Writing(ending, 6, 1), ignore)
    prompts = [
        Prompt(prompt.item_id, prompt.tokens, (tuple(own[0].tokens),))
        for prompt, own in zip(case.prompts, drawn, strict=True)
    ]
    found = case.engine.answer_log_likelihoods(prompts, case.posterior, [1], 5, ignore)[:, 0, 0]
    np.testing.assert_allclose(found, [own[0].log_prob for own in drawn], atol=6 * case.tolerance)


def test_it_works_on_after_a_rest(case: Case) -> None:
    before = case.engine.label_log_probs(case.prompts, case.posterior, [0], 3, ignore)
    case.engine.rest()
    after = case.engine.label_log_probs(case.prompts, case.posterior, [0], 3, ignore)
    np.testing.assert_allclose(before.log_probs_N_K_C, after.log_probs_N_K_C, atol=case.tolerance / 10)
