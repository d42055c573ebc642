"""LoRA (Hu et al. 2021, arXiv 2106.09685) by peft: which layers are adapted, and dropout with one mask a prompt."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import peft
import torch
from peft.tuners.lora import LoraLayer
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from star_al.config.spec import AdapterSpec
from star_al.errors import ModelError
from star_al.models.backbone import first_line, quiet
from star_al.models.minibatch import Minibatch
from star_al.models.quantised import has_float_weight

ADAPTER = "default"  # peft's name of a model's first adapter

PEFT_PREFIX = "base_model.model."
"""What peft puts before a layer's name in the bare model."""


class SequenceDropout(nn.Module):
    """Dropout of input features, with one mask for all tokens of a prompt.

    Training then sees the same kind of noise as a posterior sample of MC dropout, which keeps one mask for
    all inputs. Features that are kept are scaled by 1/(1 − p). Inputs without a sequence axis share one mask.

    Attributes:
        prompt_rows: The prompt of each sequence of the minibatch, so that sequences of one prompt share a
            mask; ``None`` to give each sequence its own.
        lengths: Lengths of sequences that lie one after another in one row (``minibatch.join``); ``None`` if
            each row is a sequence.
    """

    prompt_rows: Tensor | None = None
    lengths: tuple[int, ...] | None = None

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop features of ``x``, (R, S, d), or (1, T, d) with T tokens of joined sequences."""
        masks = self.masks(x)
        if masks is None:
            return x
        if self.lengths is not None and x.ndim == 3:
            masks = masks.repeat_interleave(torch.tensor(self.lengths, device=x.device), dim=0)
            return x * masks.to(x.dtype)
        return x * (masks[:, None] if x.ndim == 3 else masks[0]).to(x.dtype)

    def masks(self, x: Tensor) -> Tensor | None:
        """Draw what ``x`` is multiplied by: 0 and 1/(1 − p), (R, d), or (1, d) for all; ``None`` for no dropout."""
        if not self.training or self.p == 0.0:
            return None
        if x.ndim != 3:
            return self._draw(1, x)
        if self.prompt_rows is None:
            return self._draw(len(x), x)
        return self._draw(int(self.prompt_rows.max()) + 1, x)[self.prompt_rows]

    def _draw(self, n: int, x: Tensor) -> Tensor:
        kept = torch.rand(n, x.shape[-1], device=x.device) >= self.p
        return kept / (1 - self.p)


def adaptable_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return the dense layers by name, without the output head, which may share its weight with the embedding."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    dense = {
        name: module for name, module in model.named_modules() if isinstance(module, (nn.Linear, Conv1D))
    }
    return {name: module for name, module in dense.items() if module is not head}


def target_names(model: Any, spec: AdapterSpec) -> list[str]:
    """Return the last parts of the names of the layers to adapt, sorted.

    Raises:
        ModelError: The model has no dense layers, or the spec names a layer that is not one of them.
    """
    modules = adaptable_modules(model)
    if not modules:
        raise ModelError(
            f"{type(model).__name__} has no dense layers that star_al can adapt. "
            "If it is quantised, give it quantised by bitsandbytes, or not at all."
        )
    known = sorted({name.rpartition(".")[2] for name in modules})
    if spec.target_modules == "auto":
        # peft knows the usual layers of each architecture, as names or as one pattern of full names.
        usual = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(model.config.model_type)
        if isinstance(usual, str):
            return sorted({name.rpartition(".")[2] for name in modules if re.fullmatch(usual, name)}) or known
        return sorted(set(usual or ()) & set(known)) or known
    if spec.target_modules == "all-linear":
        return known
    for target in spec.target_modules:
        if not any(name == target or name.endswith("." + target) for name in modules):
            close = difflib.get_close_matches(target, known, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            raise ModelError(
                f"adapter.target_modules: {target!r} is no layer that can be adapted. "
                f"{hint}There are: {', '.join(known)}."
            )
    return sorted(spec.target_modules)


def transformer_blocks(model: Any) -> tuple[str, nn.ModuleList]:
    """Return the name of the model's list of transformer blocks, and the list, first to last.

    Raises:
        ModelError: No list has as many modules as the configuration says.
    """
    count = model.config.get_text_config().num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name, module
    raise ModelError(
        f"{type(model).__name__} has no list of {count} blocks that star_al finds. Set adapter.layers: null."
    )


def _in_last_blocks(model: Any, k: int) -> tuple[list[int], str]:
    """Return the numbers of the last k blocks, and what peft calls their list.

    Raises:
        ModelError: The model has fewer blocks.
    """
    name, blocks = transformer_blocks(model)
    if k > len(blocks):
        raise ModelError(f"adapter.layers: {k}, but the model has {len(blocks)} blocks. Lower it.")
    return list(range(len(blocks) - k, len(blocks))), name.rpartition(".")[2]


def lora_config(model: Any, spec: AdapterSpec) -> peft.LoraConfig:
    """Translate the spec into peft's configuration; dropout is left to ``SequenceDropout``.

    Raises:
        ModelError: The model has no layers or blocks as the spec names them.
    """
    targets = target_names(model, spec)
    modules = adaptable_modules(model)
    adapted = [modules[name] for name in modules if any(name == t or name.endswith("." + t) for t in targets)]
    numbers, pattern = (None, None) if spec.layers is None else _in_last_blocks(model, spec.layers)
    return peft.LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,  # type: ignore[arg-type]  # peft computes with any number
        lora_dropout=0.0,
        target_modules=targets,
        layers_to_transform=numbers,
        layers_pattern=pattern,
        fan_in_fan_out=all(isinstance(module, Conv1D) for module in adapted),
        task_type=peft.TaskType.CAUSAL_LM,
    )


@contextmanager
def attached(model: Any, spec: AdapterSpec) -> Iterator[peft.PeftModel]:
    """Within, ``model`` has a fresh adapter in its layers; afterwards it is as before.

    A is drawn from torch's global generator, B is zero. Both are float32, whatever the base model is.

    Raises:
        ModelError: The model has no layers as the spec names them, or peft cannot adapt layers that are
            quantised in this way.
    """
    config = lora_config(model, spec)
    try:
        with quiet():
            wrapped = peft.get_peft_model(model, config)
    except (TypeError, ValueError, ImportError) as exc:
        raise ModelError(f"{type(model).__name__} cannot be adapted: {first_line(exc)}") from exc
    try:
        for layer in lora_layers(wrapped).values():
            layer.lora_dropout[ADAPTER] = SequenceDropout(spec.dropout)
            # peft would cast x up to float32; autocast casts A and B down, which are far smaller.
            layer.cast_input_dtype_enabled = False
        yield wrapped
    finally:
        with quiet():
            wrapped.unload()
        model.__dict__.pop("peft_config", None)
        model.requires_grad_(False).eval()


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """Return the adapted layers by their names in the bare model."""
    return {
        name.removeprefix(PEFT_PREFIX): module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }


def layer_named(name: str, modules: Mapping[str, Any]) -> Any:
    """Return the module that an adapter calls ``name``.

    Raises:
        ModelError: The model has none.
    """
    if name not in modules:
        raise ModelError(f"the adapter's layer {name} is not in the model. Give the model it was trained on.")
    return modules[name]


def require_fit(name: str, layer: Any, b_O_r: Tensor, a_r_I: Tensor) -> None:
    """Refuse factors that do not have the size of ``layer``.

    Raises:
        ModelError: They do not.
    """
    if isinstance(layer, nn.Linear) and not has_float_weight(layer):  # a quantised weight may have any shape
        d_out, d_in = layer.out_features, layer.in_features
    else:
        d_out, d_in = reversed(layer.weight.shape) if isinstance(layer, Conv1D) else layer.weight.shape
    if (b_O_r.shape[0], a_r_I.shape[1]) != (d_out, d_in) or a_r_I.shape[0] != b_O_r.shape[1]:
        raise ModelError(f"the adapter's layer {name} has another size. Give the model it was trained on.")


def set_dropout_sequences(model: nn.Module, batch: Minibatch) -> None:
    """Tell each ``SequenceDropout`` of the model which sequences belong to one prompt, and where they lie."""
    for layer in lora_layers(model).values():
        dropout = layer.lora_dropout[ADAPTER]
        dropout.prompt_rows = batch.prompt_rows_R
        dropout.lengths = batch.lengths_R if batch.joined else None
