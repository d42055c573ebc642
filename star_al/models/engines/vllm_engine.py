"""The engine that hands scoring and drawing to vLLM.

Each sample of a posterior is written as a peft adapter, which vLLM adds to the base model in its own kernels, in the
dtype of the model. The factors of a sample are rounded to it, where the model in this process rounds the sum with the
weights. vLLM runs in this process too, and gives up the GPU's memory while an adapter is trained.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from star_al.errors import ModelError
from star_al.models.adapter_export import low_rank, write_adapter
from star_al.models.backbone import Backbone
from star_al.models.devices import first_line
from star_al.models.engines import Writing
from star_al.models.engines.vllm_requests import (
    Scored,
    drawing_arguments,
    log_likelihood,
    normalised,
    rank_for,
    scoring_arguments,
    sequences_to_score,
    written,
)
from star_al.models.inference import PassProgress
from star_al.models.posterior import Posterior
from star_al.models.prompts import Prompt
from star_al.models.writing.writer import Written
from star_al.ports import Advance
from star_al.types import Categorical, FloatArray

ADAPTERS = 16
"""Adapters that the GPU holds at once, at most; more samples take turns."""

TOGETHER = 4096
"""Sequences that are handed over at once, so that progress can be shown."""


class VllmEngine:
    """Implements ``Engine``. Nothing is loaded before it is needed.

    Args:
        backbone: The base model, on CUDA.
        samples: K, how many samples are compared.
        rank: The rank of the largest sample or mean.
        longest: Tokens of a prompt with a label or an answer, at most.
        memory: The share of the GPU's memory that vLLM takes.

    Raises:
        ModelError: vLLM is not installed, or there is no GPU for it, or it takes no adapters of the rank.
    """

    def __init__(self, backbone: Backbone, *, samples: int, rank: int, longest: int, memory: float) -> None:
        _require_vllm(backbone)
        self._backbone = backbone
        self._samples, self._rank, self._longest, self._memory = samples, rank_for(rank), longest, memory
        self._folder = tempfile.TemporaryDirectory(prefix="star_al")
        self._posterior: Posterior | None = None
        self._adapters: dict[tuple[int, int | None], Any] = {}
        self._numbers = 0
        self._rests = False

    @cached_property
    def _llm(self) -> Any:
        """VLLM with the base model.

        Raises:
            ModelError: vLLM is not installed, or there is no GPU, or it does not take the model.
        """
        # A process of its own would have to import the program again, and could not share the GPU's memory in turns.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        import vllm

        try:
            return vllm.LLM(
                model=str(self._backbone.folder),
                dtype=self._backbone.dtype,
                max_model_len=min(self._longest, self._backbone.context),
                gpu_memory_utilization=self._memory,
                enable_lora=True,
                max_loras=min(self._samples + 1, ADAPTERS),
                max_cpu_loras=self._samples + 1,
                max_lora_rank=self._rank,
                enable_sleep_mode=True,
                trust_remote_code=False,
                disable_log_stats=True,
            )
        except (ValueError, RuntimeError, NotImplementedError, ImportError) as exc:
            raise ModelError(
                f"{self._backbone.folder}: vLLM cannot run the model: {first_line(exc)}. Set "
                "model.engine_memory, or model.engine: transformers."
            ) from exc

    def label_log_probs(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        draws: Sequence[int | None],
        seed: int,
        advance: Advance,
        tolerance: float = 0.0,
    ) -> Categorical:
        """See ``Engine.label_log_probs``; every label is read, whatever the tolerance."""
        found_N_K_C = self.answer_log_likelihoods(prompts, posterior, draws, seed, advance)
        return Categorical(tuple(prompt.item_id for prompt in prompts), normalised(found_N_K_C, prompts))

    def answer_log_likelihoods(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        draws: Sequence[int | None],
        seed: int,
        advance: Advance,
    ) -> FloatArray:
        """See ``Engine.answer_log_likelihoods``."""
        columns = max((len(prompt.labels) for prompt in prompts), default=0)
        found_N_K_C = np.full((len(prompts), len(draws), columns), -np.inf)
        sequences = list(sequences_to_score(prompts))
        progress = PassProgress(len(draws), advance)
        for k, sample in enumerate(draws):
            adapter, read = self._adapter(posterior, seed, sample), 0
            for start in range(0, len(sequences), TOGETHER):
                part = sequences[start : start + TOGETHER]
                for scored, value in zip(part, self._score(part, prompts, adapter), strict=True):
                    row, column = scored.place
                    found_N_K_C[row, k, column] = value
                whole = len(prompts) if start + TOGETHER >= len(sequences) else part[-1].place[0]
                progress.add(whole - read)
                read = whole
        return found_N_K_C

    def _score(self, sequences: Sequence[Scored], prompts: Sequence[Prompt], adapter: Any) -> list[float]:
        outputs = self._generate(
            [scored.tokens for scored in sequences], [scoring_arguments()] * len(sequences), adapter
        )
        return [
            log_likelihood(scored, output.prompt_logprobs, prompts[scored.place[0]].item_id)
            for scored, output in zip(sequences, outputs, strict=True)
        ]

    def draw_answers(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        sample: int | None,
        seed: int,
        writing: Writing,
        advance: Advance,
    ) -> list[list[Written]]:
        """See ``Engine.draw_answers``; vLLM draws by its own generator, seeded for each item."""
        adapter, found = self._adapter(posterior, seed, sample), []
        size = max(1, TOGETHER // writing.draws)
        for start in range(0, len(prompts), size):
            part = prompts[start : start + size]
            arguments = [drawing_arguments(writing, seed, sample, prompt.item_id) for prompt in part]
            for output in self._generate([prompt.tokens for prompt in part], arguments, adapter):
                drawn = sorted(output.outputs, key=lambda one: one.index)
                found.append([written(one.token_ids, one.cumulative_logprob, writing) for one in drawn])
            advance(len(part))
        return found

    def rest(self) -> None:
        """See ``Engine.rest``."""
        if "_llm" in self.__dict__ and not self._rests:
            self._llm.sleep(level=1)
            self._rests = True

    def _generate(
        self, sequences: Sequence[Sequence[int]], arguments: Sequence[dict[str, Any]], adapter: Any
    ) -> list[Any]:
        if not sequences:
            return []
        llm = self._llm
        if self._rests:
            llm.wake_up()
            self._rests = False
        from vllm import SamplingParams

        prompts = [{"prompt_token_ids": list(tokens)} for tokens in sequences]
        found: list[Any] = llm.generate(
            prompts, [SamplingParams(**each) for each in arguments], lora_request=adapter, use_tqdm=False
        )
        return found

    def _adapter(self, posterior: Posterior | None, seed: int, sample: int | None) -> Any:
        """Return a sample as vLLM's ``LoRARequest``; ``None`` for the base model.

        Raises:
            ModelError: A sample depends on the text, so that it is no adapter.
        """
        if posterior is None:
            return None
        if posterior is not self._posterior:
            for adapter in self._adapters.values():
                shutil.rmtree(adapter.lora_path)
            self._posterior, self._adapters = posterior, {}
        key = seed, sample
        if key not in self._adapters:
            from vllm.lora.request import LoRARequest

            self._numbers += 1  # never one that vLLM has seen
            folder = Path(self._folder.name) / f"adapter-{self._numbers}"
            folder.mkdir()
            write_sample(folder, posterior, seed, sample, str(self._backbone.folder))
            self._adapters[key] = LoRARequest(folder.name, self._numbers, str(folder))
        return self._adapters[key]


def write_sample(folder: Path, posterior: Posterior, seed: int, sample: int | None, base: str) -> None:
    """Write a sample as a peft adapter.

    Args:
        folder: An empty folder.
        posterior: The posterior.
        seed: Seed of its samples.
        sample: The number of the sample; ``None`` for the mean or mode.
        base: The base model's folder.

    Raises:
        ModelError: A sample depends on the text, so that it is no adapter.
    """
    own = low_rank(posterior, "clora")
    layers = sorted({name.rpartition(".")[2] for name in own.layers})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "bias": "none", "target_modules": layers}
    write_adapter(folder, own, own.factors(seed, sample), config, base)


def _require_vllm(backbone: Backbone) -> None:
    if importlib.util.find_spec("vllm") is None:
        raise ModelError(
            "model.engine: vllm needs vLLM, which is not installed. Run: pip install 'star-al[vllm]', or set "
            "model.engine: transformers."
        )
    device = backbone.device
    if device.type != "cuda" or device.index:
        raise ModelError(
            f"model.engine: vllm runs on the first GPU, not on {device}. Set CUDA_VISIBLE_DEVICES to choose "
            "it, or model.engine: transformers."
        )
