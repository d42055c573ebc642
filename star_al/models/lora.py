"""LoRA (Hu et al. 2021) by peft: which layers are adapted, and dropout that is one mask a sequence."""

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
from star_al.models.batching import Batch
from star_al.models.quantised import holds_floats

ADAPTER = "default"  # peft's name of a model's first adapter


class SequenceDropout(nn.Module):
    """Dropout of input features with one mask for all tokens of a prompt (methods, section 3).

    ``prompt_rows`` maps each sequence of the batch to its prompt, so that sequences of one prompt share a
    mask; null: each sequence has its own. ``lengths`` are those of sequences that lie one after another in one
    row (``batching.join``); null: a row is a sequence. Kept features are scaled by 1/(1 − p). Inputs without
    a sequence axis share one mask.
    """

    prompt_rows: Tensor | None = None
    lengths: tuple[int, ...] | None = None

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (R, S, d), or (1, T, d) of T tokens in all, masked."""
        masks = self.masks(x)
        if masks is None:
            return x
        if self.lengths is not None and x.ndim == 3:
            masks = masks.repeat_interleave(torch.tensor(self.lengths, device=x.device), dim=0)
            return x * masks.to(x.dtype)
        return x * (masks[:, None] if x.ndim == 3 else masks[0]).to(x.dtype)

    def masks(self, x: Tensor) -> Tensor | None:
        """What ``x`` is multiplied by, (R, d) or one for all, (1, d): 0 and 1/(1 − p). Null: by nothing."""
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
    """Dense layers by name, the output head excepted (it may share its weight with the embedding)."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    dense = {
        name: module for name, module in model.named_modules() if isinstance(module, (nn.Linear, Conv1D))
    }
    return {name: module for name, module in dense.items() if module is not head}


def target_names(model: Any, spec: AdapterSpec) -> list[str]:
    """Last parts of the names of the layers to adapt, sorted.

    Raises:
        ModelError: the model has no dense layers, or a name in the spec is none of them, or is its head.
    """
    modules = adaptable_modules(model)
    if not modules:
        raise ModelError(
            f"{type(model).__name__} has no dense layers that star_al can adapt. "
            "If it is quantised, give it quantised by bitsandbytes, or not at all."
        )
    known = sorted({name.rpartition(".")[2] for name in modules})
    if spec.target_modules == "auto":
        wanted = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(model.config.model_type)
        if isinstance(wanted, str):
            return (
                sorted({name.rpartition(".")[2] for name in modules if re.fullmatch(wanted, name)}) or known
            )
        return sorted(set(wanted or ()) & set(known)) or known
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
    """The model's blocks, first to last, and the name of their list.

    Raises:
        ModelError: there is no list of as many modules as the configuration says.
    """
    count = model.config.get_text_config().num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name, module
    raise ModelError(
        f"{type(model).__name__} has no list of {count} blocks that star_al finds. Set adapter.layers: null."
    )


def _in_last_blocks(model: Any, k: int) -> tuple[list[int], str]:
    """The numbers of the last k blocks, and what peft calls their list.

    Raises:
        ModelError: there are fewer.
    """
    name, blocks = transformer_blocks(model)
    if k > len(blocks):
        raise ModelError(f"adapter.layers: {k}, but the model has {len(blocks)} blocks. Lower it.")
    return list(range(len(blocks) - k, len(blocks))), name.rpartition(".")[2]


def lora_config(model: Any, spec: AdapterSpec) -> peft.LoraConfig:
    """What peft needs to know; dropout is left to ``SequenceDropout``.

    Raises:
        ModelError: the model has no layers or blocks as the spec names them.
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
    """``model`` with a fresh adapter inside its layers; afterwards it is what it was.

    A is drawn from torch's global generator, B is zero; both are float32 whatever the base is.

    Raises:
        ModelError: the model has no layers as the spec names them, or peft cannot adapt the way they are
            quantised.
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
            layer.cast_input_dtype_enabled = False  # autocast casts A and B, which are small, not x
        yield wrapped
    finally:
        with quiet():
            wrapped.unload()
        model.__dict__.pop("peft_config", None)
        model.requires_grad_(False).eval()


PEFT_PREFIX = "base_model.model."
"""What peft puts before a layer's name in the bare model."""


def lora_layers(model: nn.Module) -> dict[str, Any]:
    """The adapted layers by their names in the bare model."""
    return {
        name.removeprefix(PEFT_PREFIX): module
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }


def layer_named(name: str, modules: Mapping[str, Any]) -> Any:
    """The module that an adapter calls ``name``.

    Raises:
        ModelError: the model has none.
    """
    if name not in modules:
        raise ModelError(f"the adapter's layer {name} is not in the model. Give the model it was trained on.")
    return modules[name]


def require_fit(name: str, layer: Any, b: Tensor, a: Tensor) -> None:
    """Refuse factors (d_out, r) and (r, d_in) of another size than ``layer``.

    Raises:
        ModelError: they are.
    """
    if isinstance(layer, nn.Linear) and not holds_floats(layer):  # its weight may be packed
        d_out, d_in = layer.out_features, layer.in_features
    else:
        d_out, d_in = reversed(layer.weight.shape) if isinstance(layer, Conv1D) else layer.weight.shape
    if (b.shape[0], a.shape[1]) != (d_out, d_in) or a.shape[0] != b.shape[1]:
        raise ModelError(f"the adapter's layer {name} has another size. Give the model it was trained on.")


def set_sequences(model: nn.Module, batch: Batch) -> None:
    """Tell every dropout which sequences belong to one prompt, and their lengths where they are joined."""
    for layer in lora_layers(model).values():
        dropout = layer.lora_dropout[ADAPTER]
        dropout.prompt_rows = batch.prompt_rows_R
        dropout.lengths = batch.lengths_R if batch.joined else None
