"""Which layers of a model are adapted: dense layers of its language model, chosen by their whole names.

A model may have more than its language model: towers for images and sound, projectors between them, heads that
predict further tokens. Their layers often carry the same last names as the language model's.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from transformers.pytorch_utils import Conv1D

from star_al.config.spec import AdapterSpec
from star_al.errors import ModelError
from star_al.models.model_body import body_of
from star_al.models.quantised import has_float_weight

_ROUTER = re.compile(r"(^|\.)(gate|wg|shared_expert_gate|\w*router\w*)(\.|$)")
"""Names of layers that send tokens to experts. A small change of their output swaps experts."""

_read_kinds: WeakKeyDictionary[nn.Module, frozenset[str]] = WeakKeyDictionary()
"""What ``_kinds_read`` found, so that an ensemble does not ask a model once for each member."""


def dense_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return all dense layers by name, without the output head, which may share its weight with the embedding.

    These are the layers that an adapter may name: version 0.1 adapted layers outside the language model too.
    """
    head = model.get_output_embeddings()  # type: ignore[operator]
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D)) and module is not head
    }


def language_layers(model: Any) -> dict[str, nn.Module]:
    """Return the layers that can be adapted by their whole names: dense layers that a text gives a gradient.

    Raises:
        ModelError: There are none.
    """
    body, dense = body_of(model), dense_layers(model)
    inside = set(body.modules())
    layers = {name: layer for name, layer in dense.items() if layer in inside and _computes_product(layer)}
    read = _kinds_read(model, body, layers) if layers else ()
    layers = {name: layer for name, layer in layers.items() if kind_of(name) in read}
    if not layers:
        raise ModelError(
            f"{type(model).__name__} has no dense layers that star_al can adapt. "
            "If it is quantised, give it quantised by bitsandbytes, or not at all."
        )
    return layers


def kind_of(name: str) -> str:
    """Return the name without its numbers, which is the same for a layer of each block and each expert."""
    return re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", name)


def choose_layers(model: Any, spec: AdapterSpec) -> list[str]:
    """Return the whole names of the layers to adapt, in the model's order.

    Raises:
        ModelError: The model has no dense layers, or too few blocks, or the spec names a layer that is not one
            of them.
    """
    layers = language_layers(model)
    names = _named_layers(model, spec, list(layers))
    if spec.layers is None:
        return names
    start, blocks = transformer_blocks(model)
    if spec.layers > len(blocks):
        raise ModelError(f"adapter.layers: {spec.layers}, but the model has {len(blocks)} blocks. Lower it.")
    last = tuple(f"{start}.{number}." for number in range(len(blocks) - spec.layers, len(blocks)))
    found = [name for name in names if name.startswith(last)]
    if not found:
        raise ModelError(
            f"adapter.layers: {spec.layers}, but the last blocks have none of the layers to adapt. Raise it, or "
            f"change adapter.target_modules. There are: {', '.join(last_names(layers))}."
        )
    return found


def chooses_all(model: Any, spec: AdapterSpec) -> bool:
    """Return whether the spec means all dense layers, rather than some by their names."""
    usual = spec.target_modules == "auto" and _usual_layers(model, list(language_layers(model)))
    return isinstance(spec.target_modules, str) and not usual


def share_in_experts(model: Any) -> float:
    """Return the share of the language model's weights, without embeddings, in tensors of many experts at once."""
    embeddings = {id(weight) for weight in model.get_input_embeddings().parameters()}
    total = experts = 0
    for module in body_of(model).modules():
        for weight in module.parameters(recurse=False):
            if id(weight) not in embeddings:
                total += weight.numel()
                is_fused = weight.ndim >= 3 and not isinstance(module, _ConvNd)
                experts += weight.numel() if is_fused else 0
    return experts / max(1, total)


def last_names(names: Iterable[str]) -> list[str]:
    """Return the last parts of layers' names, sorted."""
    return sorted({name.rpartition(".")[2] for name in names})


def _named_layers(model: Any, spec: AdapterSpec, names: Sequence[str]) -> list[str]:
    if not isinstance(spec.target_modules, str):
        for target in spec.target_modules:
            _require_target(target, names, model)
        return [name for name in names if any(_matches(name, target) for target in spec.target_modules)]
    usual = _usual_layers(model, names) if spec.target_modules == "auto" else []
    return usual or [name for name in names if not _ROUTER.search(name)] or list(names)


def _usual_layers(model: Any, names: Sequence[str]) -> list[str]:
    """Return those of ``names`` that peft adapts in this architecture by default; empty if it has no default."""
    usual = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(model.config.model_type, ())
    if isinstance(usual, str):  # a pattern of whole names
        return [name for name in names if re.fullmatch(usual, name)]
    return [name for name in names if any(_matches(name, target) for target in usual)]


def _matches(name: str, target: str) -> bool:
    return name == target or name.endswith("." + target)


def _require_target(target: str, names: Sequence[str], model: Any) -> None:
    """Refuse a name of ``adapter.target_modules`` that no layer of the language model has."""
    if any(_matches(name, target) for name in names):
        return
    known = last_names(names)
    close = difflib.get_close_matches(target, known, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    reason = "is no layer that can be adapted"
    if any(_matches(name, target) for name in dense_layers(model)):
        reason = "cannot be adapted, because it gets no gradient from a text"
        hint = ""
    raise ModelError(f"adapter.target_modules: {target!r} {reason}. {hint}There are: {', '.join(known)}.")


def transformer_blocks(model: Any) -> tuple[str, nn.ModuleList]:
    """Return the whole name of the language model's list of blocks, and the list, first to last.

    Raises:
        ModelError: No list has as many modules as the configuration says.
    """
    count = model.config.get_text_config(decoder=True).num_hidden_layers
    inside = set(body_of(model).modules())
    for name, module in model.named_modules():
        if module in inside and isinstance(module, nn.ModuleList) and len(module) == count:
            return name, module
    raise ModelError(
        f"{type(model).__name__} has no list of {count} blocks that star_al finds. Set adapter.layers: null."
    )


def _computes_product(layer: Any) -> bool:
    """Return whether a dense layer computes W·x + b: a class made from ``nn.Linear`` may compute something else."""
    if type(layer) in (nn.Linear, Conv1D) or not has_float_weight(layer):
        return True
    weight = layer.weight
    x = torch.linspace(-1, 1, 3 * layer.in_features, device=weight.device, dtype=weight.dtype)
    x = x.view(1, 3, -1)
    try:
        with torch.no_grad():
            out = layer(x)
            expected = nn.functional.linear(x, weight, layer.bias)
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError):
        return False
    same_shape = isinstance(out, Tensor) and out.shape == expected.shape
    return same_shape and torch.allclose(out.float(), expected.float(), rtol=2e-2, atol=1e-3)


def _kinds_read(model: nn.Module, body: nn.Module, layers: Mapping[str, nn.Module]) -> frozenset[str]:
    """Return the kinds of layers that the hidden states of a text depend on, so that they get a gradient.

    Others learn nothing. Some are for images or further tokens, some choose what attention sees; of some the model
    takes the weight and computes with it in its own way, where an adapter has no part. Of many experts a short text
    passes only some, so one layer of a kind speaks for all.
    """
    if model not in _read_kinds:
        device = model.get_input_embeddings().weight.device  # type: ignore[operator]
        marks = {kind_of(name): torch.zeros(1, device=device, requires_grad=True) for name in layers}
        hooks = [
            layer.register_forward_hook(partial(_add_mark, marks[kind_of(name)]))
            for name, layer in layers.items()
        ]
        try:
            gradients = _gradients_of_text(model, body, list(marks.values()))
        except (TypeError, ValueError, RuntimeError, AttributeError, AssertionError, LookupError):
            return frozenset(marks)  # what is wrong with the model is told elsewhere
        finally:
            for hook in hooks:
                hook.remove()
        _read_kinds[model] = frozenset(
            kind for kind, gradient in zip(marks, gradients, strict=True) if gradient is not None
        )
    return _read_kinds[model]


def _add_mark(mark: Tensor, layer: nn.Module, args: object, output: Tensor) -> Tensor:
    return output + mark.to(output.device, output.dtype)


def _gradients_of_text(model: Any, body: nn.Module, marks: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Run the language model on a few tokens, in the mode it is trained in.

    Returns:
        The gradient of each mark, or ``None`` if the hidden states do not depend on it.
    """
    embedding = model.get_input_embeddings().weight
    ids = (torch.arange(16, device=embedding.device) * 7919 + 11) % len(embedding)
    training = {module: module.training for module in body.modules()}
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.random.fork_rng(devices=range(torch.cuda.device_count())),
        ):
            body.train()
            hidden = body(input_ids=ids[None], use_cache=False).last_hidden_state
            return torch.autograd.grad(hidden.float().sum(), marks, allow_unused=True)
    finally:
        for module, mode in training.items():
            module.training = mode
