"""The learner: a frozen language model, a LoRA adapter each round, and samples of its posterior."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from star_al.config.spec import CampaignSpec
from star_al.errors import ModelError, OutOfMemoryError
from star_al.models import adapter_file
from star_al.models.activation_files import ActivationFiles
from star_al.models.backbone import DTYPES, Backbone, load_backbone, quiet
from star_al.models.batching import Batch, make_batch, padded_tokens, plan_batches
from star_al.models.likelihood import label_scorer, prompt_embedder
from star_al.models.lora import lora_config, transformer_blocks
from star_al.models.out_of_memory import ran_out, told
from star_al.models.posterior import Method, Posterior, Score, Training
from star_al.models.prompts import Prompt, PromptFormat
from star_al.models.readout import Readout
from star_al.models.trunk import Trunk
from star_al.ports import Advance
from star_al.task import ClosedTask
from star_al.types import (
    BasePrediction,
    Categorical,
    Float32Array,
    FloatArray,
    Item,
    JsonObject,
    JsonValue,
)

FORMAT = 1
"""Version of what base predictions and adapters mean; a change makes stored ones unused."""


FEW_PROMPTS = 8
"""How many of the training prompts a fitted model must answer before it is kept."""


def _silent(_: str) -> None:
    """Messages that nobody reads."""


class LoraLearner:
    """Implements ``star_al.ports.Learner`` for closed labels.

    ``model_path`` is a folder or hub name, already resolved against the campaign file; ``method`` is the
    one of ``spec.posterior``. ``dtype`` overrides the spec's, so that a resumed campaign keeps the one its
    rounds recorded. ``cache`` is a folder for activations of frozen blocks (``adapter.layers``), null: they
    are not kept. ``say`` is told what a user should know. Nothing is loaded before it is needed.
    """

    def __init__(
        self,
        task: ClosedTask,
        spec: CampaignSpec,
        model_path: str,
        method: Method,
        *,
        dtype: str | None = None,
        cache: Path | None = None,
        say: Callable[[str], None] = _silent,
    ) -> None:
        self._task = task
        self._spec = spec
        self._model_path = model_path
        self._method = method
        self._dtype = dtype or spec.model.dtype
        self._cache = cache
        self._say = say
        self._batch_tokens = spec.model.batch_tokens  # less, once so many did not fit into memory
        self._truncated: set[str] = set()
        self._loaded: tuple[tuple[object, ...], Posterior] | None = None

    @property
    def truncated(self) -> int:
        """Distinct items met so far whose text or options were cut to fit the model."""
        return len(self._truncated)

    @cached_property
    def backbone(self) -> Backbone:
        """The base model.

        Raises:
            ModelError: there is none at the path.
        """
        model = self._spec.model
        return load_backbone(
            self._model_path, revision=model.revision, dtype=self._dtype, device=model.device
        )

    @cached_property
    def _readout(self) -> Readout:
        """The backbone's, which knows from here on what ``adapter.layers`` leaves frozen.

        Raises:
            ModelError: the model has no such blocks.
        """
        readout, k = self.backbone.readout, self._spec.adapter.layers
        if k is not None:
            _, blocks = transformer_blocks(self.backbone.model)
            trunk = Trunk(readout, blocks, k, self._activation_files()) if k < len(blocks) else None
            if trunk is not None and not trunk.works():
                self._say("The model cannot be started at its last blocks: it is computed whole each time")
                trunk = None
            readout.trunk = trunk
        return readout

    def _activation_files(self) -> ActivationFiles | None:
        limit = self._spec.model.trunk_cache_gb
        if self._cache is None or not limit:
            return None
        parts = [self.model_key, self._spec.adapter.layers, self.backbone.versions()]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
        dtype = DTYPES[self.backbone.dtype]
        return ActivationFiles(self._cache, key, dtype, int(limit * 1e9), self._say)

    @cached_property
    def prompts(self) -> PromptFormat:
        """How items are shown to the model.

        Raises:
            ConfigError, ModelError: prompt and labels do not work with this model.
        """
        backbone = self.backbone
        with quiet():
            return PromptFormat(
                backbone.tokenizer,
                self._task,
                max_tokens=self._spec.model.max_tokens,
                context=backbone.context,
            )

    @cached_property
    def model_key(self) -> str:
        """Hash of weights, tokenizer, prompt, labels and truncation: what an adapter is trained for."""
        return hashlib.sha256(f"{FORMAT}/{self.backbone.fingerprint}/{self.prompts.key}".encode()).hexdigest()

    @cached_property
    def base_key(self) -> str:
        """Hash of all that base predictions depend on: ``model_key``, dtype, and whether a prior is kept."""
        parts = [self.model_key, self.backbone.dtype, self._task.spec.contextual_calibration]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def check(self) -> None:
        """See ``Learner.check``."""
        _ = self.base_key  # files, prompt and labels: seconds, so before the weights
        lora_config(self.backbone.model, self._spec.adapter)
        _ = self._readout

    def versions(self) -> JsonObject:
        """Libraries, device, dtype, and a hash of the weights."""
        return {**self.backbone.versions(), "weights": self.backbone.fingerprint}

    # -- base ----------------------------------------------------------------------------------------------

    def base_predict(self, items: Sequence[Item], advance: Advance) -> list[BasePrediction]:
        """See ``Learner.base_predict``."""
        log_probs = self._scores(self._encode(items), None, [None], 0, advance).log_probs_N_K_C[:, 0]
        priors = self._priors(items) if self._task.spec.contextual_calibration else [None] * len(items)
        counts = [len(self._task.label_names(item)) for item in items]
        return [
            BasePrediction(item.item_id, row[:count].copy(), prior)
            for item, row, count, prior in zip(items, log_probs, counts, priors, strict=True)
        ]

    def _priors(self, items: Sequence[Item]) -> list[FloatArray | None]:
        """Predictions for a content-free text: one for all, or with options one an item."""
        if not self._task.is_multiple_choice:
            return [self._class_prior] * len(items)
        blank = [self.prompts.encode_content_free(item) for item in items]
        log_probs = self._scores(blank, None, [None], 0, _nowhere).log_probs_N_K_C[:, 0]
        return [row[: len(prompt.labels)].copy() for row, prompt in zip(log_probs, blank, strict=True)]

    @cached_property
    def _class_prior(self) -> FloatArray:
        blank = self.prompts.encode_content_free(Item(item_id="content-free", text=""))
        prior: FloatArray = self._scores([blank], None, [None], 0, _nowhere).log_probs_N_K_C[0, 0]
        return prior

    # -- adapter -------------------------------------------------------------------------------------------

    def training_steps(self, n_examples: int) -> int:
        """Optimiser steps of ``fit`` on this many examples."""
        return self._method.steps(n_examples, self._spec.adapter)

    def fit(
        self,
        examples: Sequence[tuple[Item, JsonValue]],
        *,
        seed: int,
        folder: Path,
        parent: Path | None,
        advance: Advance,
    ) -> str:
        """See ``Learner.fit``."""
        _ = self._readout
        columns = [self._task.column(item, value) for item, value in examples]
        prompts = self._encode([item for item, _ in examples])
        training = Training(
            backbone=self.backbone,
            examples=list(zip(prompts, columns, strict=True)),
            adapter=self._spec.adapter,
            base=self._spec.model.name,
            seed=seed,
            parent=parent,
            advance=advance,
        )
        message = (
            f"training ran out of memory on {self.backbone.device}. "
            "Lower adapter.batch_size, or set another model.device."
        )
        with told(message):
            kept = self._method.fit(training, folder)
        kind = self._spec.posterior.kind
        record = {"format": FORMAT, "kind": kind, "model_key": self.model_key, "dtype": self.backbone.dtype}
        adapter_file.save_record(folder, {**kept, **record})
        self._refuse_useless(folder, prompts[:FEW_PROMPTS])
        return kind

    def _refuse_useless(self, folder: Path, prompts: Sequence[Prompt]) -> None:
        """Raises ModelError where the fitted model cannot answer what it was trained on, or cannot be sampled."""
        posterior = self._posterior(folder)
        try:
            self._scores(prompts, posterior, [None], 0, _nowhere)
        except OutOfMemoryError:
            raise
        except ModelError as exc:
            raise ModelError(
                f"the trained model is of no use: {exc} Was adapter.learning_rate "
                f"(now {self._spec.adapter.learning_rate:g}) too high?"
            ) from exc
        # A sample may need steps of the model that the mode does not.
        self._scores(prompts, posterior, [0], 0, _nowhere)

    def predict(
        self, folder: Path | None, items: Sequence[Item], *, draws: range | None, seed: int, advance: Advance
    ) -> Categorical:
        """See ``Learner.predict``."""
        posterior = None if folder is None else self._posterior(folder)
        samples = [None] if posterior is None or draws is None else list(draws)
        return self._scores(self._encode(items), posterior, samples, seed, advance)

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        """See ``Learner.embed``; the hidden state is the one after the final norm."""
        posterior = None if folder is None else self._posterior(folder)
        prompts = self._encode(items)
        embeddings_N_d = np.zeros((len(prompts), self._readout.head.weight.shape[1]), dtype=np.float32)
        embedder = prompt_embedder(self._readout)
        with quiet(), self._drawn(posterior, embedder, 0, None) as embed:
            for positions, rows in self._read(prompts, posterior, embed):
                embeddings_N_d[positions] = rows
                advance(len(positions))
        return embeddings_N_d

    def _posterior(self, folder: Path) -> Posterior:
        """The artefact in ``folder``; the last one stays loaded while its files are the same.

        A pool is scored in many pieces, and TFB, say, decomposes every layer when it is loaded.
        """
        files = {path: path.stat() for path in sorted(folder.rglob("*"))}
        key = tuple((path, stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in files.items())
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # two would not have to fit into memory
            self._loaded = key, self._load(folder)
        return self._loaded[1]

    def _load(self, folder: Path) -> Posterior:
        record = adapter_file.read_record(folder)
        if record.get("kind") != self._spec.posterior.kind or record.get("format") != FORMAT:
            raise ModelError(
                f"{folder}: an adapter of kind {record.get('kind')!r}, format {record.get('format')!r}; "
                f"this campaign reads kind {self._spec.posterior.kind!r}, format {FORMAT}."
            )
        if record.get("model_key") != self.model_key:
            raise ModelError(
                f"{folder}: the adapter was trained with another base model, prompt or label set. "
                "Use the campaign's own config and model."
            )
        return self._method.load(folder, record)

    # -- scoring -------------------------------------------------------------------------------------------

    def _encode(self, items: Sequence[Item]) -> list[Prompt]:
        prompts = [self.prompts.encode(item) for item in items]
        self._truncated.update(prompt.item_id for prompt in prompts if prompt.truncated)
        return prompts

    def _scores(
        self,
        prompts: Sequence[Prompt],
        posterior: Posterior | None,
        draws: Sequence[int | None],
        seed: int,
        advance: Advance,
    ) -> Categorical:
        """Log-probabilities by sample; the model takes on each sample once, then reads all prompts."""
        columns = max((len(prompt.labels) for prompt in prompts), default=0)
        log_probs_N_K_C = np.full((len(prompts), len(draws), columns), -np.inf)
        if not prompts:
            return Categorical((), log_probs_N_K_C)
        progress = _ItemProgress(len(draws), advance)
        for k, sample in enumerate(draws):
            with quiet(), self._drawn(posterior, label_scorer(self._readout), seed, sample) as score:
                for positions, rows in self._read(prompts, posterior, _normalised(score)):
                    log_probs_N_K_C[positions, k, : rows.shape[1]] = rows
                    progress.add(len(positions))
        return Categorical(tuple(prompt.item_id for prompt in prompts), log_probs_N_K_C)

    @contextmanager
    def _drawn(
        self, posterior: Posterior | None, score: Score, seed: int, sample: int | None
    ) -> Iterator[Score]:
        message = (
            f"a sample of the adapter does not fit into the memory of {self.backbone.device}. "
            "Set another model.device; only a new campaign may adapt fewer layers."
        )
        draw = nullcontext(score) if posterior is None else posterior.draw(self.backbone, score, seed, sample)
        with told(message), draw as drawn:
            yield drawn

    def _read(
        self, prompts: Sequence[Prompt], posterior: Posterior | None, read: Callable[[Batch], Tensor]
    ) -> Iterator[tuple[list[int], FloatArray]]:
        """Positions in ``prompts`` by batch, and what ``read`` makes of it, (B, …).

        A batch that does not fit into the device's memory is read in smaller ones, and so is all that follows.
        """
        prefix = self.prompts.prefix if posterior is None or posterior.shares_prefix else ()
        packed = self._readout.packed
        left = deque(plan_batches(prompts, self._batch_tokens, packed=packed))
        while left:
            batch = [prompts[position] for position in left[0]]
            rows = self._read_batch(batch, read, prefix)
            if rows is not None:
                yield left.popleft(), rows
                continue
            self._batch_tokens = padded_tokens(batch[len(batch) // 2 :], packed=packed)
            rest = list(itertools.chain.from_iterable(left))
            plan = plan_batches([prompts[position] for position in rest], self._batch_tokens, packed=packed)
            left = deque([rest[index] for index in part] for part in plan)

    def _read_batch(
        self, prompts: Sequence[Prompt], read: Callable[[Batch], Tensor], prefix: tuple[int, ...]
    ) -> FloatArray | None:
        """What ``read`` makes of a batch, (B, …); null: it does not fit into the device's memory."""
        try:
            batch = make_batch(prompts, self._readout, prefix)
            with torch.inference_mode():
                rows: FloatArray = read(batch).double().cpu().numpy()
        except (RuntimeError, MemoryError) as exc:
            if not ran_out(exc):
                raise
            if len(prompts) == 1:
                raise OutOfMemoryError(
                    f"item {prompts[0].item_id} does not fit into the memory of {self.backbone.device}. "
                    "Set another model.device; only a new campaign may lower model.max_tokens."
                ) from exc
            return None  # tried again once the error is gone, whose traceback keeps the activations alive
        wrong = (np.isnan(rows) | np.isposinf(rows)).any(axis=1)
        if wrong.any():
            raise ModelError(
                f"the model answers NaN for item {prompts[int(wrong.argmax())].item_id}. Check the model's "
                "weights; a new campaign may try model.dtype: float32."
            )
        return rows


def _normalised(score: Score) -> Callable[[Batch], Tensor]:
    """``score`` as log-probabilities, in float64."""
    return lambda batch: score(batch).double().log_softmax(dim=-1)


class _ItemProgress:
    """Counts items over several passes: an item is done when it went through all of them."""

    def __init__(self, passes: int, advance: Advance) -> None:
        self._passes, self._advance, self._seen = passes, advance, 0

    def add(self, n: int) -> None:
        before = self._seen // self._passes
        self._seen += n
        self._advance(self._seen // self._passes - before)


def _nowhere(_: int) -> None:
    """Progress that nobody watches."""
