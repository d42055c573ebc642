"""A frozen language model and how a campaign's items are shown to it: what learners of all kinds of answers share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from star_al.config.spec import CampaignSpec, EnsembleSpec
from star_al.models.activation_cache import ActivationCache
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.devices import DTYPES
from star_al.models.engines import Engine
from star_al.models.engines.transformers_engine import TransformersEngine
from star_al.models.fitted_posteriors import FORMAT
from star_al.models.inference import Inference
from star_al.models.prompts import PROMPTS_VERSION, Prompt, PromptFormat
from star_al.models.quiet import quiet
from star_al.models.reference import ReferenceLikelihoods, log_probs_per_token
from star_al.models.target_layers import transformer_blocks
from star_al.models.trunk import Trunk
from star_al.ports import Advance, ignore
from star_al.task import make_task
from star_al.types import FloatArray, Item, JsonObject

LONGEST_LABEL = 128
"""Tokens of a label, at most, for which vLLM keeps room."""


def open_prompts(
    backbone: Backbone, spec: CampaignSpec, prompt_format: type[PromptFormat] = PromptFormat
) -> PromptFormat:
    """Return how a campaign's items are shown to a model.

    Raises:
        ConfigError: The prompt does not work with this task.
        ModelError: Prompt or labels do not work with this model.
    """
    with quiet():
        return prompt_format(
            backbone.tokenizer,
            make_task(spec.task),
            max_tokens=spec.model.max_tokens,
            context=backbone.context,
        )


def discard(_: str) -> None:
    """Take a message that nobody reads."""


class PromptedModel:
    """A base model with a campaign's prompts. Nothing is loaded before it is needed.

    Args:
        spec: The campaign's settings.
        path: A folder or hub name, already resolved against the campaign file.
        dtype: Overrides the spec's, so that a resumed campaign keeps the one that its rounds recorded.
        batches: Scoring batches that earlier rounds recorded, by device. With ``model.batch_tokens: auto`` they are
            kept, so that a resumed campaign reads the same minibatches on any machine.
        cache: Folder for activations of frozen blocks (``adapter.layers``); ``None`` to keep none.
        prompt_format: How items are shown to the model.
        features: Folder for what the base model makes of completions; ``None`` to keep it in memory.
        say: Called with messages for the user.
    """

    def __init__(
        self,
        spec: CampaignSpec,
        path: str,
        *,
        dtype: str | None = None,
        batches: Mapping[str, int] | None = None,
        cache: Path | None = None,
        prompt_format: type[PromptFormat] = PromptFormat,
        features: Path | None = None,
        say: Callable[[str], None] = discard,
    ) -> None:
        self.spec = spec
        self.path = path
        self.say = say
        self._dtype = dtype
        self._batches = batches or {}
        self._cache = cache
        self._prompt_format = prompt_format
        self._features = features
        self._truncated: set[str] = set()

    @cached_property
    def backbone(self) -> Backbone:
        """The base model.

        Raises:
            ModelError: There is none at the path.
        """
        model = self.spec.model
        return load_backbone(
            self.path,
            revision=model.revision,
            dtype=self._dtype or model.dtype,
            device=model.device,
            quantise=model.quantise,
            gpus=model.gpus,
            say=self.say,
        )

    @cached_property
    def prompts(self) -> PromptFormat:
        """How items are shown to the model.

        Raises:
            ConfigError: The prompt does not work with this task.
            ModelError: Prompt or labels do not work with this model.
        """
        return open_prompts(self.backbone, self.spec, self._prompt_format)

    @cached_property
    def key(self) -> str:
        """Hash of weights, tokenizer, prompt, labels and truncation: what an adapter is trained for."""
        return hashlib.sha256(f"{FORMAT}/{self.backbone.fingerprint}/{self.prompts.key}".encode()).hexdigest()

    @property
    def truncated(self) -> int:
        """Number of distinct items so far whose text or options were cut to fit the model."""
        return len(self._truncated)

    def encode(self, items: Sequence[Item], prompts: PromptFormat | None = None) -> list[Prompt]:
        """Return the prompts of items, and count those that were cut.

        Args:
            items: The items.
            prompts: How they are shown; ``None`` for the campaign's own way.
        """
        encoded = [(prompts or self.prompts).encode(item) for item in items]
        self._truncated.update(prompt.item_id for prompt in encoded if prompt.truncated)
        return encoded

    @property
    def compares(self) -> bool:
        """True if completions of a prompt are compared, by how much likelier than the base model an adapted one is."""
        return self.spec.task.completion is not None

    def encode_to_compare(self, items: Sequence[Item]) -> list[Prompt]:
        """Return what ``encode`` does; where completions are compared, with what the base model makes of them."""
        prompts = self.encode(items)
        if not self.compares:
            return prompts
        return list(map(self.prompts.rewarded, prompts, self._reference_of(prompts, ignore).tolist()))

    def base_preferences(self, items: Sequence[Item], advance: Advance) -> FloatArray:
        """Return which completion the base model finds likelier a token, as log-probabilities (N, C)."""
        prompts = self.encode(items)
        return log_probs_per_token(prompts, self._reference_of(prompts, advance))

    def _reference_of(self, prompts: Sequence[Prompt], advance: Advance) -> FloatArray:
        return self._reference.of(prompts, lambda missing: self.inference.reference(missing), advance)

    @cached_property
    def _reference(self) -> ReferenceLikelihoods:
        limit = int(self.spec.head.cache_gb * 1e9)
        return ReferenceLikelihoods(self._features, (self.key, self.backbone.dtype), limit, self.say)

    def versions(self) -> JsonObject:
        """Return libraries, device, dtype, a hash of the weights, and how prompts are read.

        Once the model is loaded, also the size of scoring batches.
        """
        loaded = self.__dict__.get("inference")
        return {
            **self.backbone.versions(),
            "weights": self.backbone.fingerprint,
            "prompts": PROMPTS_VERSION,
            **({} if loaded is None else {"batch_tokens": loaded.batch.tokens}),
        }

    @cached_property
    def inference(self) -> Inference:
        """Reads prompts; loads the weights, and sets up the frozen blocks if only the last ones are adapted.

        Raises:
            ModelError: The model cannot be read, or has no blocks as ``adapter.layers`` needs them.
        """
        trunk = self._open_trunk()
        return Inference(self.backbone, trunk, self.prompts.prefix, self._minibatch_tokens())

    @cached_property
    def local(self) -> TransformersEngine:
        """Scores and writes with the model in this process."""
        return TransformersEngine(self.backbone, lambda: self.inference, lambda: self.prompts.prefix)

    @cached_property
    def engine(self) -> Engine:
        """Scores and draws with samples, as ``model.engine`` says."""
        if self.spec.model.engine == "transformers":
            return self.local
        from star_al.models.engines.vllm_engine import VllmEngine

        posterior = self.spec.posterior
        members = posterior.members if isinstance(posterior, EnsembleSpec) else 1
        return VllmEngine(
            self.backbone,
            samples=posterior.samples,
            rank=self.spec.adapter.rank * members,  # an ensemble's mean has the ranks of all members
            longest=self.spec.model.max_tokens + max(self.spec.task.longest_answer, LONGEST_LABEL),
            memory=self.spec.model.engine_memory,
        )

    def _minibatch_tokens(self) -> int | None:
        """Return the tokens of a scoring batch; ``None`` to measure which are best."""
        asked = self.spec.model.batch_tokens
        return asked if asked != "auto" else self._batches.get(str(self.backbone.versions()["device"]))

    def _open_trunk(self) -> Trunk | None:
        """Return the frozen blocks, or ``None`` if there are none or the model cannot start above them."""
        readout, n_adapted = self.backbone.readout, self.spec.adapter.layers
        if n_adapted is None:
            return None
        _, blocks = transformer_blocks(self.backbone.model)
        if n_adapted >= len(blocks):
            return None
        trunk = Trunk(readout, blocks, n_adapted, self._activation_cache())
        if trunk.works():
            return trunk
        self.say("The model cannot start at its last blocks, so all of it is computed each time")
        return None

    def _activation_cache(self) -> ActivationCache | None:
        limit = self.spec.model.trunk_cache_gb
        if self._cache is None or not limit:
            return None
        # Library versions are part of the key: another version of torch may round differently.
        parts = [self.key, self.spec.adapter.layers, self.backbone.versions()]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
        dtype = DTYPES[self.backbone.dtype]
        return ActivationCache(self._cache, key, dtype, int(limit * 1e9), self.say)
