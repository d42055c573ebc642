"""The learner: a frozen language model, a LoRA adapter each round, and samples of its posterior."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from star_al import rng
from star_al.config.spec import CampaignSpec
from star_al.errors import ModelError, NotFiniteError
from star_al.models.activation_cache import ActivationCache
from star_al.models.adapter_export import low_rank, write_adapters, write_merged, write_reader
from star_al.models.adapter_record import save_record
from star_al.models.backbone import DTYPES, Backbone, load_backbone
from star_al.models.base_embeddings import KEPT, BaseEmbeddings
from star_al.models.batch_choice import BatchChoice
from star_al.models.classifier import FILE as CLASSIFIER_FILE
from star_al.models.classifier import Classifier, blank_classifier, for_classifier, load_classifier
from star_al.models.encoded import Encoded
from star_al.models.fitted_posteriors import FORMAT, FittedPosteriors
from star_al.models.inference import Inference
from star_al.models.licence import find_licence
from star_al.models.linear_probe import ProbeTexts, fit_probe
from star_al.models.lora import left_out, lora_config
from star_al.models.out_of_memory import translate_out_of_memory
from star_al.models.position_switch import require_one_reading
from star_al.models.posterior import Method, Posterior, Training
from star_al.models.prompts import PROMPTS_VERSION, Prompt, PromptFormat
from star_al.models.quiet import quiet
from star_al.models.states import STATES_VERSION, LanguageModelStates, pair_items, pair_task
from star_al.models.target_layers import transformer_blocks
from star_al.models.targets import TaughtPrompts
from star_al.models.token_rows import require_rows
from star_al.models.trial import choose_prompts, try_out
from star_al.models.trunk import Trunk
from star_al.ports import Advance, Pool, Taught, ignore
from star_al.task import ClosedTask, make_task
from star_al.types import (
    BasePrediction,
    Float32Array,
    FloatArray,
    Item,
    JsonObject,
    JsonValue,
    Predictions,
)

FEW_PROMPTS = 8
"""How many of the training prompts a fitted posterior must answer before it is kept."""


def open_prompts(backbone: Backbone, spec: CampaignSpec) -> PromptFormat:
    """Return how a campaign's items are shown to a model.

    Raises:
        ConfigError: The prompt does not work with this task.
        ModelError: Prompt or labels do not work with this model.
    """
    with quiet():
        return PromptFormat(
            backbone.tokenizer,
            make_task(spec.task),
            max_tokens=spec.model.max_tokens,
            context=backbone.context,
        )


def _discard(_: str) -> None:
    """Take a message that nobody reads."""


class LoraLearner:
    """Implements ``star_al.ports.Learner`` for closed labels. Nothing is loaded before it is needed.

    Args:
        task: The task.
        spec: The campaign's settings.
        model_path: A folder or hub name, already resolved against the campaign file.
        method: The posterior method of ``spec.posterior``.
        dtype: Overrides the spec's, so that a resumed campaign keeps the one that its rounds recorded.
        batches: Scoring batches that earlier rounds recorded, by device. With ``model.batch_tokens: auto`` they are
            kept, so that a resumed campaign reads the same minibatches on any machine.
        cache: Folder for activations of frozen blocks (``adapter.layers``); ``None`` to keep none.
        features: Folder for embeddings by the base model; ``None`` to keep none.
        packs_base_embeddings: True in a campaign that began when the base model embedded texts each time, in
            minibatches of several lengths.
        say: Called with messages for the user.
    """

    def __init__(
        self,
        task: ClosedTask,
        spec: CampaignSpec,
        model_path: str,
        method: Method,
        *,
        dtype: str | None = None,
        batches: Mapping[str, int] | None = None,
        cache: Path | None = None,
        features: Path | None = None,
        packs_base_embeddings: bool = False,
        say: Callable[[str], None] = _discard,
    ) -> None:
        self._task = task
        self._spec = spec
        self._model_path = model_path
        self._method = method
        self._dtype = dtype or spec.model.dtype
        self._batches = batches or {}
        self._cache = cache
        self._features = features
        self._packs_base_embeddings = packs_base_embeddings
        self._say = say
        self._truncated: set[str] = set()
        self._inference: Inference | None = None
        self._checked = False

    @property
    def truncated(self) -> int:
        """Number of distinct items so far whose text or options were cut to fit the model."""
        return len(self._truncated)

    @cached_property
    def backbone(self) -> Backbone:
        """The base model.

        Raises:
            ModelError: There is none at the path.
        """
        model = self._spec.model
        return load_backbone(
            self._model_path,
            revision=model.revision,
            dtype=self._dtype,
            device=model.device,
            say=self._say,
        )

    @cached_property
    def prompts(self) -> PromptFormat:
        """How items are shown to the model.

        Raises:
            ConfigError: The prompt does not work with this task.
            ModelError: Prompt or labels do not work with this model.
        """
        return open_prompts(self.backbone, self._spec)

    @cached_property
    def model_key(self) -> str:
        """Hash of weights, tokenizer, prompt, labels and truncation: what an adapter is trained for."""
        return hashlib.sha256(f"{FORMAT}/{self.backbone.fingerprint}/{self.prompts.key}".encode()).hexdigest()

    @cached_property
    def base_key(self) -> str:
        """Hash of everything that base predictions depend on: ``model_key``, dtype, and whether there is a prior."""
        parts = [self.model_key, self.backbone.dtype, self._task.spec.contextual_calibration]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def base_reads_pool(self) -> bool:
        """Return False: a language model reads each text by itself."""
        return False

    @cached_property
    def _posteriors(self) -> FittedPosteriors:
        return FittedPosteriors(self._method, self._spec.posterior.kind, self.model_key)

    def check(self, items: Sequence[Item] = ()) -> None:
        """See ``Learner.check``."""
        if self._checked:
            return
        _ = self.base_key  # files, prompt and labels: this takes seconds, so it comes before the weights
        prompts = [self.prompts.encode(item) for item in items] or [self._content_free_prompt()]
        require_rows(self.backbone.model, self.backbone.tokenizer, prompts)
        inference = self._load()
        self._require_one_reading(prompts)
        lora_config(self.backbone.model, self._spec.adapter)
        if missing := left_out(self.backbone.model, self._spec.adapter):
            self._say(missing)
        for warning in self.prompts.warnings:
            self._say(warning)
        self._tell_window(max(map(len, prompts)))
        chosen = choose_prompts(prompts, self._spec.adapter.batch_size, self.backbone.device)
        classifier = None
        if self._spec.has_classifier:
            classifier, chosen = self._blank_classifier(), for_classifier(chosen)
        examples = [(prompt, index % len(prompt.labels)) for index, prompt in enumerate(chosen)]
        with self.backbone.readout.classifying(classifier):
            try_out(self._method, self._training(examples, seed=0, parent=None, advance=ignore), inference)
        self._checked = True

    def _blank_classifier(self) -> Classifier:
        return blank_classifier(len(self._task.spec.label_names), self.backbone.readout.head.weight.shape[1])

    def _require_one_reading(self, prompts: Sequence[Prompt]) -> None:
        longest_label = max(len(label) for prompt in prompts for label in prompt.labels)
        limit = min(self._spec.model.max_tokens + longest_label, self.backbone.context)
        with quiet():
            require_one_reading(self.backbone.model, self.backbone.readout, prompts, limit)

    def _tell_window(self, longest: int) -> None:
        with quiet():
            whole = self.backbone.readout.lengths.longest(longest)
        if whole < longest and self.backbone.readout.supports_packing:
            self._say(
                f"Prompts of more than {whole} tokens take longer: not every layer of the model sees further back, "
                "so each label is read in a sequence of its own"
            )

    def _content_free_prompt(self) -> Prompt:
        blank = Item(item_id="content-free", text="", options=self._task.sample_options)
        return self.prompts.encode_content_free(blank)

    def _training(
        self, examples: Sequence[tuple[Prompt, int]], *, seed: int, parent: Path | None, advance: Advance
    ) -> Training:
        adapter = self._spec.adapter
        if self._spec.has_classifier:
            adapter = adapter.model_copy(update={"loss": "labels"})  # a classifier has no other
        return Training(
            backbone=self.backbone,
            examples=examples,
            adapter=adapter,
            base=self._spec.model.given_name,
            seed=seed,
            parent=parent,
            advance=advance,
            trunk=self._load().trunk,
        )

    def versions(self) -> JsonObject:
        """See ``Learner.versions``: libraries, device, dtype, a hash of the weights, and how prompts are read.

        Once the model is loaded, also the size of scoring batches.
        """
        batch = {} if self._inference is None else {"batch_tokens": self._inference.batch.tokens}
        return {
            **self.backbone.versions(),
            "weights": self.backbone.fingerprint,
            "prompts": PROMPTS_VERSION,
            **({} if self._packs_base_embeddings else {"base_embeddings": KEPT}),
            **batch,
        }

    def scoring_batch(self) -> BatchChoice:
        """Return the size of scoring batches, and what was measured; loads the model."""
        return self._load().batch

    def with_other_prompt(self) -> LoraLearner | None:
        """See ``Learner.with_other_prompt``; the weights are loaded once for both."""
        if not self.backbone.tokenizer.chat_template:
            return None
        task = self._spec.task.model_copy(update={"chat_template": not self._spec.task.chat_template})
        spec = self._spec.model_copy(update={"task": task})
        other = LoraLearner(
            make_task(task), spec, self._model_path, self._method, dtype=self._dtype, batches=self._batches
        )
        other.backbone = self.backbone
        return other

    # -- loading -------------------------------------------------------------------------------------------

    def _load(self) -> Inference:
        """Load the weights, and set up the frozen blocks if only the last ones are adapted.

        Raises:
            ModelError: The model cannot be read, or has no blocks as ``adapter.layers`` needs them.
        """
        if self._inference is None:
            trunk = self._open_trunk()
            self._inference = Inference(self.backbone, trunk, self.prompts.prefix, self._minibatch_tokens())
        return self._inference

    def _minibatch_tokens(self) -> int | None:
        """Return the tokens of a scoring batch; ``None`` to measure which are best."""
        asked = self._spec.model.batch_tokens
        return asked if asked != "auto" else self._batches.get(str(self.backbone.versions()["device"]))

    def _open_trunk(self) -> Trunk | None:
        """Return the frozen blocks, or ``None`` if there are none or the model cannot start above them."""
        readout, n_adapted = self.backbone.readout, self._spec.adapter.layers
        if n_adapted is None:
            return None
        _, blocks = transformer_blocks(self.backbone.model)
        if n_adapted >= len(blocks):
            return None
        trunk = Trunk(readout, blocks, n_adapted, self._activation_cache())
        if trunk.works():
            return trunk
        self._say("The model cannot start at its last blocks, so all of it is computed each time")
        return None

    def _activation_cache(self) -> ActivationCache | None:
        limit = self._spec.model.trunk_cache_gb
        if self._cache is None or not limit:
            return None
        # Library versions are part of the key: another version of torch may round differently.
        parts = [self.model_key, self._spec.adapter.layers, self.backbone.versions()]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
        dtype = DTYPES[self.backbone.dtype]
        return ActivationCache(self._cache, key, dtype, int(limit * 1e9), self._say)

    # -- base model ----------------------------------------------------------------------------------------

    def base_predict(
        self, items: Sequence[Item], advance: Advance, pool: Pool | None = None
    ) -> list[BasePrediction]:
        """See ``Learner.base_predict``."""
        log_probs = self._predict_by_base(self._encode(items), advance)
        priors = self._priors(items) if self._task.spec.contextual_calibration else [None] * len(items)
        counts = [len(self._task.choices(item)) for item in items]
        return [
            BasePrediction(item.item_id, row[:count].copy(), prior)
            for item, row, count, prior in zip(items, log_probs, counts, priors, strict=True)
        ]

    def _priors(self, items: Sequence[Item]) -> list[FloatArray | None]:
        """Return predictions for a content-free text: one for all items, or one for each if they have options."""
        if not self._task.has_options:
            return [self._class_prior] * len(items)
        blank = [self.prompts.encode_content_free(item) for item in items]
        log_probs = self._predict_by_base(blank)
        return [row[: len(prompt.labels)].copy() for row, prompt in zip(log_probs, blank, strict=True)]

    @cached_property
    def _class_prior(self) -> FloatArray:
        blank = self.prompts.encode_content_free(Item(item_id="content-free", text=""))
        prior: FloatArray = self._predict_by_base([blank])[0]
        return prior

    def _predict_by_base(self, prompts: Sequence[Prompt], advance: Advance | None = None) -> FloatArray:
        """Return log-probabilities (N, C)."""
        scored = self._load().label_log_probs(prompts, None, [None], 0, advance or ignore)
        log_probs_N_C: FloatArray = scored.log_probs_N_K_C[:, 0]
        return log_probs_N_C

    # -- adapters ------------------------------------------------------------------------------------------

    def training_steps(self, n_examples: int, n_taught: int = 0) -> int:
        """See ``Learner.training_steps``."""
        return self._method.steps(n_examples, self._spec.adapter, n_taught)

    def fit(
        self,
        examples: Sequence[tuple[Item, JsonValue]],
        *,
        pool: Pool | None = None,
        seed: int,
        folder: Path,
        parent: Path | None,
        advance: Advance,
        taught: Taught | None = None,
    ) -> str:
        """See ``Learner.fit``; a posterior may look at some texts of the pool."""
        columns = [self._task.column(item, value) for item, value in examples]
        items = [item for item, _ in examples]
        classifier = self._fit_classifier(items, columns, taught, seed) if self._spec.has_classifier else None
        prompts = self._encode_for(classifier, items)
        training = self._training(
            list(zip(prompts, columns, strict=True)), seed=seed, parent=parent, advance=advance
        )
        if taught is not None:
            lessons = TaughtPrompts(
                self._encode_for(classifier, taught.items), taught.probs_M_C, taught.weight
            )
            training = replace(training, taught=lessons)
        if pool is not None:
            labelled = {item.item_id for item in items}
            training = replace(
                training, unlabelled=partial(self._draw_prompts, classifier, pool, labelled, seed)
            )
        message = (
            f"training ran out of memory on {self.backbone.device}. "
            "Lower adapter.batch_size, or set another model.device."
        )
        with translate_out_of_memory(message), self.backbone.readout.classifying(classifier):
            fitted = self._method.fit(training, folder)
        kind = self._spec.posterior.kind
        record: JsonObject = {
            "format": FORMAT,
            "kind": kind,
            "model_key": self.model_key,
            "dtype": self.backbone.dtype,
        }
        if classifier is not None:
            classifier.save(folder)
            record = {**record, "classifier": True}
        save_record(folder, {**fitted, **record})
        self._require_answers(folder, prompts[:FEW_PROMPTS])
        return kind

    def _fit_classifier(
        self, items: Sequence[Item], columns: Sequence[int], taught: Taught | None, seed: int
    ) -> Classifier:
        """Fit a classifier to the frozen model's states of what people answered, and of what is taught."""
        shares_N_C = np.eye(len(self._task.spec.label_names))[list(columns)]
        weights_N = np.ones(len(items))
        texts = list(items)
        if taught is not None:
            texts += taught.items
            shares_N_C = np.concatenate([shares_N_C, taught.probs_M_C])
            weights_N = np.concatenate([weights_N, np.full(len(taught.items), taught.weight)])
        hidden_N_d = self.embed(None, texts, ignore)
        return fit_probe(ProbeTexts(hidden_N_d, shares_N_C, weights_N, len(items)), seed)

    def _draw_prompts(
        self, classifier: Classifier | None, pool: Pool, labelled: Collection[str], seed: int, n: int
    ) -> list[Prompt]:
        """Return the prompts of n random texts of a pool that are not labelled."""
        others = [item_id for item_id in pool.item_ids if item_id not in labelled]
        chosen = sorted(rng.draw(others, n, rng.derive_seed(seed, 0, "adapter/unlabelled")))
        return self._encode_for(classifier, pool.load(chosen))

    def _require_answers(self, folder: Path, prompts: Sequence[Prompt]) -> None:
        """Check that a fitted posterior answers what it was trained on.

        Raises:
            ModelError: Its answer is NaN, or it cannot be sampled.
        """
        inference, posterior = self._load(), self._posteriors.load(folder)
        with self.backbone.readout.classifying(load_classifier(folder)):
            try:
                inference.label_log_probs(prompts, posterior, [None], 0, ignore)
            except NotFiniteError as exc:
                raise ModelError(
                    f"the trained model is of no use: {exc} Was adapter.learning_rate "
                    f"(now {self._spec.adapter.learning_rate:g}) too high?"
                ) from exc
            # A sample is farther from the base model than the mean, so it may overflow where the mean does not.
            inference.label_log_probs(prompts, posterior, [0], 0, ignore)

    def predict(
        self,
        folder: Path | None,
        items: Sequence[Item],
        *,
        draws: range | None,
        seed: int,
        advance: Advance,
        tolerance: float = 0.0,
    ) -> Predictions:
        """See ``Learner.predict``."""
        inference, posterior = self._load(), self._posterior(folder)
        samples = [None] if posterior is None or draws is None else list(draws)
        classifier = load_classifier(folder)
        with self.backbone.readout.classifying(classifier):
            prompts = self._encode_for(classifier, items)
            found = inference.label_log_probs(prompts, posterior, samples, seed, advance, tolerance)
        return Predictions(found.item_ids, found.log_probs_N_K_C, (self._task.columns(items),))

    def export(
        self,
        folder: Path,
        out: Path,
        *,
        draws: range | None,
        seed: int,
        merged: bool,
        examples: Sequence[Item],
    ) -> JsonObject:
        """See ``Learner.export``."""
        self._load()
        posterior = low_rank(self._posteriors.load(folder), self._spec.posterior.kind)
        local = Path(self._model_path).is_dir()
        base = str(Path(self._model_path).resolve()) if local else self._model_path
        samples = list(draws or ())
        if merged:
            names = write_merged(out, self.backbone, posterior, folder, samples, seed)
        else:
            names = write_adapters(out, posterior, folder, base, samples, seed)
        write_reader(out, self.backbone, self.prompts, examples)
        classifier = load_classifier(folder)
        if classifier is not None:
            classifier.save(out)
        return {
            "base": None if merged else base,
            "revision": None if merged or local else self._spec.model.revision,
            "dtype": self.backbone.dtype,
            "samples": names,
            "classifier": None if classifier is None else CLASSIFIER_FILE,
            "base_licence": find_licence(self.backbone.folder, self._model_path),
            "template": self.prompts.template,
            "prompt": self.prompts.record(),
        }

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        """See ``Learner.embed``; the hidden state is the one after the final norm."""
        if folder is None and not self._packs_base_embeddings:
            return self._base_embeddings.of(items, self._embed_by_base, advance)
        prompts = self._encode_for(load_classifier(folder), items)
        return self._load().embeddings(prompts, self._posterior(folder), advance)

    @cached_property
    def _base_embeddings(self) -> BaseEmbeddings:
        limit = int(self._spec.head.cache_gb * 1e9)
        return BaseEmbeddings(self._features, (self.model_key, self.backbone.dtype), limit, self._say)

    def _embed_by_base(self, items: Sequence[Item], advance: Advance) -> Encoded:
        self._load()
        states = LanguageModelStates(self.backbone, self.prompts.prefix, "Set another model.device.")
        found = states.encode(self._encode(items), advance)
        size = found.vectors_N_d.shape[1] // 3  # the last of three states is the one at the prompt's end
        return Encoded(found.vectors_N_d[:, -size:], found.cut_N)

    # -- features for a head ------------------------------------------------------------------------------

    @cached_property
    def states_key(self) -> str:
        """Hash of everything that ``states`` depends on, but for device and library versions."""
        parts = [STATES_VERSION, self.backbone.fingerprint, self._states_prompts.key, self.backbone.dtype]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @cached_property
    def _states_prompts(self) -> PromptFormat:
        """How items are shown to the model for its states: as for its answers, but options one by one."""
        if not self._task.has_options:
            return self.prompts
        model = self._spec.model
        with quiet():
            return PromptFormat(
                self.backbone.tokenizer,
                pair_task(),
                max_tokens=model.max_tokens,
                context=self.backbone.context,
            )

    def states(self, items: Sequence[Item], advance: Advance) -> Encoded:
        """Return features of items from the frozen model, adapter off.

        Args:
            items: N texts, or questions with options.
            advance: Counts texts, or options.

        Returns:
            A row for each text; with multiple choice, for each option, in the order of items and options.
        """
        asked = items
        if self._task.has_options:
            asked = [pair for item in items for pair in pair_items(item)]
        self._load()
        prompts = [self._states_prompts.encode(item) for item in asked]
        self._truncated.update(prompt.item_id for prompt in prompts if prompt.truncated)
        return LanguageModelStates(self.backbone, self._states_prompts.prefix).encode(prompts, advance)

    def _posterior(self, folder: Path | None) -> Posterior | None:
        return None if folder is None else self._posteriors.load(folder)

    def _encode_for(self, classifier: Classifier | None, items: Sequence[Item]) -> list[Prompt]:
        """Return prompts whose labels are words or, if there is a classifier, its rows."""
        prompts = self._encode(items)
        return prompts if classifier is None else for_classifier(prompts)

    def _encode(self, items: Sequence[Item]) -> list[Prompt]:
        prompts = [self.prompts.encode(item) for item in items]
        self._truncated.update(prompt.item_id for prompt in prompts if prompt.truncated)
        return prompts
