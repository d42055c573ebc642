"""What vLLM is asked and how its answers are read, as far as that needs no vLLM; ``tests/contract`` has the rest."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import transformers

from star_al.errors import ModelError, NotFiniteError
from star_al.models.engines import Writing
from star_al.models.engines.vllm_engine import write_sample
from star_al.models.engines.vllm_requests import (
    drawing_arguments,
    log_likelihood,
    normalised,
    rank_for,
    sequences_to_score,
    written,
)
from star_al.models.prompts import Prompt, Reward
from star_al.models.writing.ending import Ending
from star_al.ports import ignore
from support.posteriors import EVERY, fit, items, learner
from support.small_models import plain_log_probs
from support.tiny_model import build_tiny_model

PROMPT = Prompt("i1", (5, 6, 7), ((8, 9), (8,)))


@dataclass
class LogProb:
    """As ``vllm.logprobs.Logprob``."""

    logprob: float


def test_a_label_is_scored_where_it_stands() -> None:
    pair, single = sequences_to_score([PROMPT])
    assert (pair.tokens, pair.start, pair.place) == ((5, 6, 7, 8, 9), 3, (0, 0))
    assert (single.tokens, single.place) == ((5, 6, 7, 8), (0, 1))
    known = [None, *({token: LogProb(-float(token)), 0: LogProb(0.0)} for token in pair.tokens[1:])]
    assert log_likelihood(pair, known, "i1") == -17.0
    assert log_likelihood(single, known, "i1") == -8.0
    known[4] = {9: LogProb(float("nan"))}
    with pytest.raises(NotFiniteError, match="NaN for item i1"):
        log_likelihood(pair, known, "i1")


def test_rewards_are_refused() -> None:
    rewarded = Prompt("i1", (5,), ((8,), (9,)), reward=Reward(0.1, (0.0, 0.0)))
    with pytest.raises(ModelError, match="engine: transformers"):
        list(sequences_to_score([rewarded]))


def test_labels_are_normalised_by_prompt_or_by_pair() -> None:
    paired = Prompt("i2", (5,), ((8,), (9,), (10,), (11,)), paired=True)
    found_N_K_C = np.log(np.array([[[0.1, 0.3, 0.0, 0.0]], [[0.2, 0.2, 0.3, 0.1]]]).clip(1e-300))
    found_N_K_C[0, :, 2:] = -np.inf
    probs_N_K_C = np.exp(normalised(found_N_K_C, [PROMPT, paired]))
    np.testing.assert_allclose(probs_N_K_C[:, 0], [[0.25, 0.75, 0, 0], [0.25, 0.25, 0.375, 0.125]])


def test_draws_depend_on_item_sample_and_seed() -> None:
    ending = Ending((2,), frozenset({2, 7}), "", None)
    writing = Writing(ending, 12, 3)
    one = drawing_arguments(writing, 0, 1, "i1")
    assert one["n"] == 3 and one["max_tokens"] == 12 and one["stop_token_ids"] == [2, 7]
    assert one == drawing_arguments(writing, 0, 1, "i1")
    seeds = {
        drawing_arguments(writing, *each)["seed"]
        for each in [(0, 1, "i1"), (1, 1, "i1"), (0, 2, "i1"), (0, 1, "i2")]
    }
    assert len(seeds) == 4 and all(0 <= seed < 2**31 for seed in seeds)
    assert written([4, 7], -1.5, writing).is_over and not written([4, 5], -1.5, writing).is_over


def test_ranks_are_those_that_vllm_takes() -> None:
    assert [rank_for(rank) for rank in (1, 4, 8, 9, 300)] == [1, 8, 8, 16, 320]
    with pytest.raises(ModelError, match="rank 512"):
        rank_for(513)


@pytest.mark.parametrize("kind", ["mc_dropout", "ensemble", "laplace", "tfb"])
def test_a_sample_that_vllm_gets_is_that_of_the_engine_here(kind: str, tmp_path: Path) -> None:
    """The adapter's files are read by peft, whose format vLLM reads."""
    folder = build_tiny_model(tmp_path / "m")
    one = learner(folder, EVERY[kind])
    posterior = one._posteriors.load(fit(one, tmp_path / "a")).posterior
    assert posterior is not None
    prompts = one.model.encode(items(3))
    expected = one.model.engine.label_log_probs(prompts, posterior, [1], 5, ignore).log_probs_N_K_C[:, 0]
    (tmp_path / "sample").mkdir()
    write_sample(tmp_path / "sample", posterior, 5, 1, str(folder))
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder)
    adapted = peft.PeftModel.from_pretrained(plain, tmp_path / "sample")
    np.testing.assert_allclose(plain_log_probs(adapted, prompts), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"posterior": {"kind": "clora"}}, "clora"),
        ({"adapter": {"output": "classifier"}}, "adapter.output: label_names"),
        ({"model": {"engine": "vllm", "quantise": "4bit"}}, r"does not go with model\.quantise"),
        ({"model": {"engine": "vllm", "gpus": 2}}, r"does not go with model\.gpus"),
    ],
)
def test_what_vllm_cannot_do_is_refused(tmp_path: Path, sections: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        learner(tmp_path, **{"posterior": {"kind": "map"}, "model": {"engine": "vllm"}, **sections})


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_it_says_what_is_missing(tmp_path: Path) -> None:
    one = learner(build_tiny_model(tmp_path / "m"), model={"engine": "vllm"})
    with pytest.raises(ModelError, match=r"pip install 'star-al\[vllm\]'"):
        one.check(items(1))
