"""LoRA (Hu et al. 2021, arXiv 2106.09685) by peft: which layers are adapted, and dropout with one mask a prompt."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import peft
import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import check_target_module_exists
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from star_al.config.spec import AdapterSpec
from star_al.errors import ModelError
from star_al.models.devices import first_line
from star_al.models.minibatch import Minibatch
from star_al.models.quantised import has_float_weight
from star_al.models.quiet import quiet
from star_al.models.target_layers import (
    choose_layers,
    chooses_all,
    kind_of,
    language_layers,
    last_names,
    share_in_experts,
    transformer_blocks,
)

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
        return self._draw(int(self.prompt_rows.max()) + 1, x)[self.prompt_rows.to(x.device)]

    def _draw(self, n: int, x: Tensor) -> Tensor:
        kept = torch.rand(n, x.shape[-1], device=x.device) >= self.p
        return kept / (1 - self.p)


def lora_config(model: Any, spec: AdapterSpec) -> peft.LoraConfig:
    """Return the configuration under which peft adapts the chosen layers and no others.

    ``auto`` and ``all-linear`` leave out what peft does not take; dropout is left to ``SequenceDropout``.

    Raises:
        ModelError: The model has no layers or blocks as the spec names them, or peft does not take them.
    """
    names = choose_layers(model, spec)
    refused = _refused_layers(model, spec, names)
    taken = [name for name in names if name not in refused]
    if refused and (not taken or not isinstance(spec.target_modules, str)):
        every = list(language_layers(model))
        known = last_names(set(every) - _refused_layers(model, spec, every))
        raise ModelError(
            f"adapter.target_modules: peft cannot adapt {', '.join(last_names(refused))} of "
            f"{type(model).__name__}. There are: {', '.join(known) or 'no others'}."
        )
    config = _config_for(model, spec, taken)
    if _layers_taken(model, config) != set(taken):
        raise ModelError(
            f"peft does not adapt the layers of {type(model).__name__} that adapter.target_modules means. "
            f"Name some of them: {', '.join(last_names(taken))}."
        )
    return config


def left_out(model: Any, spec: AdapterSpec) -> str:
    """Return a sentence on what ``auto`` or ``all-linear`` leaves out of all layers; empty if that is nothing."""
    if not chooses_all(model, spec):
        return ""
    refused = last_names(_refused_layers(model, spec, choose_layers(model, spec)))
    share = share_in_experts(model)
    parts = [f"the layers {', '.join(refused)}, which peft cannot adapt in this model"] if refused else []
    if share:
        parts.append(f"the experts, whose weights are one tensor ({share:.0%} of the weights of the blocks)")
    return f"The adapter leaves out {'; and '.join(parts)}" if parts else ""


def _config_for(model: Any, spec: AdapterSpec, names: Sequence[str]) -> peft.LoraConfig:
    """Return a configuration that names the layers by their last parts if that means no others, else in full."""
    modules = dict(model.named_modules())

    def config(targets: Sequence[str], numbers: list[int] | None, pattern: str | None) -> peft.LoraConfig:
        return peft.LoraConfig(
            r=spec.rank,
            lora_alpha=spec.alpha,  # type: ignore[arg-type]  # peft computes with any number
            lora_dropout=0.0,
            target_modules=list(targets),
            layers_to_transform=numbers,
            layers_pattern=pattern,
            fan_in_fan_out=all(isinstance(modules[name], Conv1D) for name in names),
            task_type=peft.TaskType.CAUSAL_LM,
        )

    targets = last_names(names) if isinstance(spec.target_modules, str) else sorted(spec.target_modules)
    numbers = pattern = None
    if spec.layers is not None:
        start, blocks = transformer_blocks(model)
        numbers, pattern = (
            list(range(len(blocks) - spec.layers, len(blocks))),
            start.rpartition(".")[2],
        )
    short = config(targets, numbers, pattern)
    meant = {name for name in modules if check_target_module_exists(short, name) is True}
    return short if meant == set(names) else config(sorted(names), None, None)


def _refused_layers(model: Any, spec: AdapterSpec, names: Sequence[str]) -> set[str]:
    """Return those of ``names`` that peft does not adapt, or in whose place it adapts something else."""
    if _layers_taken(model, _config_for(model, spec, names)) == set(names):
        return set()
    modules = dict(model.named_modules())
    kinds: dict[object, list[str]] = {}
    for name in names:
        kinds.setdefault((kind_of(name), type(modules[name])), []).append(name)
    whole = spec.model_copy(update={"layers": None})
    return {
        name
        for alike in kinds.values()
        if _layers_taken(model, _config_for(model, whole, alike[:1])) != {alike[0]}
        for name in alike
    }


def _layers_taken(model: Any, config: peft.LoraConfig) -> set[str] | None:
    """Return the layers that peft adapts under a configuration, without memory for weights.

    peft rewrites the configuration of some architectures, so that only trying shows what it makes of it.

    Returns:
        Names of layers; None if peft refuses the configuration, or does not load what it saves.
    """
    try:
        with (
            torch.random.fork_rng(devices=range(torch.cuda.device_count())),
            _adapted(model, copy.deepcopy(config), low_cpu_mem_usage=True) as wrapped,
        ):
            names = set(lora_layers(wrapped))
            state = peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False)
            # Some tensors are renamed when an adapter is loaded, to names that the model does not have.
            loaded: Any = peft.set_peft_model_state_dict(wrapped, dict(state), low_cpu_mem_usage=True)
            return None if loaded.unexpected_keys else names
    except ModelError:
        return None


@contextmanager
def attached(model: Any, spec: AdapterSpec) -> Iterator[peft.PeftModel]:
    """Within, ``model`` has a fresh adapter in its layers; afterwards it is as before.

    A is drawn from torch's global generator, B is zero. Both are float32, whatever the base model is.

    Raises:
        ModelError: The model has no layers as the spec names them, or peft cannot adapt layers that are
            quantised in this way.
    """
    config = lora_config(model, spec)
    with _adapted(model, config) as wrapped:
        for layer in lora_layers(wrapped).values():
            layer.lora_dropout[ADAPTER] = SequenceDropout(spec.dropout)
            # peft would cast x up to float32; autocast casts A and B down, which are far smaller.
            layer.cast_input_dtype_enabled = False
        yield wrapped


@contextmanager
def _adapted(model: Any, config: peft.LoraConfig, **options: bool) -> Iterator[peft.PeftModel]:
    """Within, ``model`` has peft's layers under a configuration; afterwards its modules are what they were.

    Raises:
        ModelError: peft refuses the configuration or the model.
    """
    places = [(module, dict(module._modules)) for module in model.modules()]
    try:
        try:
            with quiet():
                wrapped: Any = peft.get_peft_model(model, config, **options)  # type: ignore[call-overload]
        except (TypeError, ValueError, ImportError, AttributeError, NotImplementedError) as exc:
            raise ModelError(f"{type(model).__name__} cannot be adapted: {first_line(exc)}") from exc
        yield wrapped
    finally:
        # Not by peft's own unloading: it does not know a model that it failed to adapt half-way.
        for module, children in places:
            for name, child in children.items():
                module._modules[name] = child
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
