"""How a LoRA of the studies is trained: a recipe, the prompts of the sets, and a model that trainings share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from star_al.app.language_learners import posterior_method
from star_al.config.spec import CampaignSpec
from star_al.head.label_names import plain_name
from star_al.models.backbone import Backbone, load_backbone
from star_al.models.devices import resolve_device, resolve_dtype
from star_al.models.learner import LoraLearner
from star_al.task import closed, make_task

MAX_TOKENS = 64
"""Tokens of a prompt, so that a training takes a few minutes."""

PROMPTS = {
    "bbc": ("Topics: {labels}.", "Topic:"),
    "sms_spam": ("Kinds of text messages: {labels}.", "Kind:"),
    "banking77": ("Questions to a bank, and what they are about.", "About:"),
    "hwu64": ("Orders to a home assistant, and what they are about.", "About:"),
}
"""Instruction, and what comes after the text. With 64 or 77 labels, a list of them would be longer than the texts."""


@dataclass(frozen=True)
class Recipe:
    """How a model learns.

    Attributes:
        kind: The head alone, LoRA, LoRA taught by the head, or LoRA beside a linear probe (``recipe_probe.py``).
        output: ``adapter.output``.
        reads: What a classifier reads: the state of the prompt's end, or the mean state of the text's tokens too.
        loss: ``adapter.loss``.
        rate: ``adapter.learning_rate``.
        targets: ``q, v`` or all linear layers.
        steps: Optimiser steps, in all.
        batch: Texts of a minibatch.
        layers: Adapted blocks, the last ones; ``None`` for all.
        average: ``adapter.average``.
        share: ``adapter.taught_share``.
        weight: What a taught text counts.
        sharpness: Power that the head's probabilities are raised to before they are taught.
        decay: ``adapter.weight_decay_b``.
        dropout: ``adapter.dropout``.
    """

    kind: Literal["head", "lora", "taught", "lpft"] = "lora"
    output: Literal["label_names", "classifier"] = "label_names"
    reads: Literal["end", "text"] = "end"
    loss: str = "answer"
    rate: float = 1e-3
    targets: Literal["qv", "all"] = "all"
    steps: int = 60
    batch: int = 8
    layers: int | None = None
    average: float = 0.0
    share: float = 0.5
    weight: float = 1.0
    sharpness: float = 1.0
    decay: float = 0.5
    dropout: float = 0.1

    @property
    def name(self) -> str:
        """The kind, and every setting that is not the default, as it is written in a file's name."""
        plain = Recipe()
        own = [
            f"{field.name}={getattr(self, field.name):g}"
            if isinstance(getattr(self, field.name), float)
            else f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if field.name != "kind" and getattr(self, field.name) != getattr(plain, field.name)
        ]
        return ",".join([self.kind, *own])

    @classmethod
    def parse(cls, text: str) -> Recipe:
        """Read what ``name`` writes.

        Raises:
            ValueError: A part is no setting of a recipe.
        """
        kind, *parts = text.split(",")
        known = {field.name: getattr(cls(), field.name) for field in fields(cls)}
        values: dict[str, Any] = {"kind": kind}
        for part in parts:
            name, _, value = part.partition("=")
            if name not in known:
                raise ValueError(f"{text}: {part} is no setting of a recipe; known are {', '.join(known)}")
            like = type(known[name]) if known[name] is not None else int
            values[name] = like(value)
        return cls(**values)


def campaign(
    name: str, recipe: Recipe, labels: Sequence[str], model: str, dtype: str = "auto"
) -> CampaignSpec:
    """Return the settings of a set and a recipe, as a campaign has them."""
    instruction, after = PROMPTS[name.removesuffix("_tail")]
    return CampaignSpec.model_validate(
        {
            "name": "recipe",
            "data": {"path": "pool.jsonl"},
            "task": {
                "kind": "classification",
                "labels": [{"name": name, "verbaliser": plain_name(name)} for name in labels],
                "chat_template": False,
                "instruction": instruction,
                "template": f"{{text}}\n\n{after}",
            },
            "model": {"name": model, "dtype": dtype, "max_tokens": MAX_TOKENS, "batch_tokens": 1024},
            "adapter": {
                "output": recipe.output,
                "loss": recipe.loss,
                "learning_rate": recipe.rate,
                "target_modules": "all-linear" if recipe.targets == "all" else ["q_proj", "v_proj"],
                "epochs": 1,
                "min_steps": recipe.steps,
                "batch_size": recipe.batch,
                "layers": recipe.layers,
                "average": recipe.average,
                "taught_share": recipe.share,
                "weight_decay_b": recipe.decay,
                "dropout": recipe.dropout,
            },
            "posterior": {"kind": "map"},
            "evaluation": {"kind": "none"},
            "annotator": {"kind": "oracle", "gold": "label"},
        }
    )


class SharedModel:
    """A language model that is loaded once for all trainings.

    Args:
        name: The model, as a folder or a name on the hub.
        device: ``model.device``.
    """

    def __init__(self, name: str, device: str = "auto") -> None:
        self._name, self._device = name, device

    @cached_property
    def dtype(self) -> str:
        """What it runs in: bfloat16 where that is no slower than float32."""
        return resolve_dtype("auto", resolve_device(self._device))

    @cached_property
    def _backbone(self) -> Backbone:
        backbone = load_backbone(self._name, revision=None, dtype=self.dtype, device=self._device)
        _ = backbone.readout  # loads the weights now, so that no cell's seconds include it
        return backbone

    def learner(
        self, set_name: str, recipe: Recipe, labels: Sequence[str], states: Path | None = None
    ) -> LoraLearner:
        """Return a learner for a set and a recipe.

        Args:
            set_name: The set.
            recipe: The recipe.
            labels: The set's labels.
            states: Folder where the frozen model's states of texts are kept, by the texts' ids; None to keep none.
        """
        spec = campaign(set_name, recipe, labels, self._name, self.dtype)
        method = posterior_method(spec.posterior)
        learner = LoraLearner(
            closed(make_task(spec.task)),
            spec,
            self._name,
            method,
            features=states,
            classifier_reads_text=recipe.reads == "text",
        )
        learner.model.backbone = self._backbone
        return learner
