"""Features of items from a frozen language model: embeddings of prompts, and states for a head."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

from star_al.models.base_embeddings import BaseEmbeddings
from star_al.models.classifier import TEXT_AND_END
from star_al.models.encoded import Encoded
from star_al.models.prompted_model import PromptedModel
from star_al.models.prompts import PromptFormat
from star_al.models.quiet import quiet
from star_al.models.states import STATES_VERSION, LanguageModelStates, pair_items, pair_task
from star_al.ports import Advance
from star_al.task import Task
from star_al.types import Float32Array, Item


class FrozenFeatures:
    """What a model without an adapter makes of items.

    Args:
        model: The model.
        task: The task.
        folder: Folder for embeddings; ``None`` to keep none.
    """

    def __init__(self, model: PromptedModel, task: Task, folder: Path | None) -> None:
        self._model = model
        self._task = task
        self._folder = folder

    def embed(self, items: Sequence[Item], advance: Advance) -> Float32Array:
        """Return the hidden states after the final norm at the ends of prompts, (N, d)."""
        return self._ends.of(items, partial(self._read, 1), advance)

    def embed_texts(self, items: Sequence[Item], advance: Advance) -> Float32Array:
        """Return the mean hidden state of each text's tokens, followed by what ``embed`` gives, (N, 2 d)."""
        return self._texts_and_ends.of(items, partial(self._read, 2), advance)

    @cached_property
    def _ends(self) -> BaseEmbeddings:
        return self._kept()

    @cached_property
    def _texts_and_ends(self) -> BaseEmbeddings:
        return self._kept(TEXT_AND_END)

    def _kept(self, *what: str) -> BaseEmbeddings:
        model = self._model
        limit = int(model.spec.head.cache_gb * 1e9)
        return BaseEmbeddings(self._folder, (model.key, model.backbone.dtype, *what), limit, model.say)

    def _read(self, last: int, items: Sequence[Item], advance: Advance) -> Encoded:
        """Return the last ones of the three states that are read of a text."""
        model = self._model
        _ = model.inference
        states = LanguageModelStates(model.backbone, model.prompts.prefix, "Set another model.device.")
        found = states.encode(model.encode(items), advance)
        size = found.vectors_N_d.shape[1] // 3
        return Encoded(found.vectors_N_d[:, -last * size :], found.cut_N)

    @cached_property
    def states_key(self) -> str:
        """Hash of everything that ``states`` depends on, but for device and library versions."""
        backbone = self._model.backbone
        parts = [STATES_VERSION, backbone.fingerprint, self.states_prompts.key, backbone.dtype]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @cached_property
    def states_prompts(self) -> PromptFormat:
        """How items are shown to the model for its states: as for its answers, but options one by one."""
        if not self._task.has_options:
            return self._model.prompts
        backbone = self._model.backbone
        with quiet():
            return PromptFormat(
                backbone.tokenizer,
                pair_task(),
                max_tokens=self._model.spec.model.max_tokens,
                context=backbone.context,
            )

    def states(self, items: Sequence[Item], advance: Advance) -> Encoded:
        """Return features of items for a head.

        Args:
            items: N texts, or questions with options.
            advance: Counts texts, or options.

        Returns:
            A row for each text; with multiple choice, for each option, in the order of items and options.
        """
        asked = items
        if self._task.has_options:
            asked = [pair for item in items for pair in pair_items(item)]
        _ = self._model.inference
        prompts = self._model.encode(asked, self.states_prompts)
        return LanguageModelStates(self._model.backbone, self.states_prompts.prefix).encode(prompts, advance)
