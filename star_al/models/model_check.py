"""Check that a language model can read a campaign's prompts and be adapted, before a label is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from star_al.models.lora import left_out, lora_config
from star_al.models.position_switch import require_one_reading
from star_al.models.prompted_model import PromptedModel
from star_al.models.prompts import Prompt
from star_al.models.quiet import quiet
from star_al.models.token_rows import require_rows


def check_model(model: PromptedModel, prompts: Sequence[Prompt]) -> None:
    """Check a model with some prompts, and tell the user what is special about it. Loads the model.

    Raises:
        ConfigError: ``adapter.target_modules`` does not fit the model.
        ModelError: The model cannot read the prompts, or cannot be adapted.
    """
    backbone, adapter = model.backbone, model.spec.adapter
    require_rows(backbone.model, backbone.tokenizer, prompts)
    _ = model.engine  # says whether something is missing
    _ = model.inference
    _require_one_reading(model, prompts)
    lora_config(backbone.model, adapter)
    if missing := left_out(backbone.model, adapter):
        model.say(missing)
    for warning in model.prompts.warnings:
        model.say(warning)
    _tell_window(model, max(map(len, prompts)))


def _require_one_reading(model: PromptedModel, prompts: Sequence[Prompt]) -> None:
    backbone = model.backbone
    longest_label = max(len(label) for prompt in prompts for label in prompt.labels)
    limit = min(model.spec.model.max_tokens + longest_label, backbone.context)
    with quiet():
        require_one_reading(backbone.model, backbone.readout, prompts, limit)


def _tell_window(model: PromptedModel, longest: int) -> None:
    readout = model.backbone.readout
    with quiet():
        whole = readout.lengths.longest(longest)
    if whole < longest and readout.supports_packing:
        model.say(
            f"Prompts of more than {whole} tokens take longer: not every layer of the model sees further back, "
            "so each label is read in a sequence of its own"
        )
