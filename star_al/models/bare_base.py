"""The base model is the bare weights: no adapter lies beside them, and training leaves none behind.

transformers loads an adapter that lies in a model's folder without a word, and peft then takes it out together
with ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from star_al.errors import ModelError

ADAPTER_CONFIG = "adapter_config.json"
"""The file by which transformers knows that a folder holds an adapter."""


def require_no_adapter(folder: Path, name: str) -> None:
    """Refuse a folder that is an adapter, or that holds one beside a model.

    Args:
        folder: A folder with the files of a model.
        name: The model as the user names it.

    Raises:
        ModelError: There is an adapter. Says how to use the model with it or without.
    """
    config = folder / ADAPTER_CONFIG
    if not config.is_file():
        return
    merge = "merge it (peft's merge_and_unload), save the merged model, and name that"
    if (folder / "config.json").is_file():
        raise ModelError(
            f"model {name!r}: {config} is an adapter beside the model's weights, and the two would be loaded as one. "
            f"To use the weights alone, move {ADAPTER_CONFIG} and adapter_model.safetensors out of the folder. "
            f"To use both, {merge}."
        )
    base = _base_of(config)
    named = f" of {base!r}" if base else ""
    raise ModelError(
        f"model {name!r}: {folder} holds an adapter{named}, not a model. "
        f"Set model.name to {repr(base) if base else 'its base model'}. To use both, {merge}."
    )


def _base_of(config: Path) -> str | None:
    """Return the base model that an adapter's configuration names."""
    try:
        base = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        return None
    return base if isinstance(base, str) and base else None


def require_bare(model: nn.Module, folder: Path) -> None:
    """Refuse a loaded model that has layers of an adapter.

    Raises:
        ModelError: It has.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer  # slow to import; heads do without

    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            raise ModelError(
                f"{folder}: the model was loaded with an adapter in its layer {name}. Give a model without one."
            )


@contextmanager
def left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Check that what happens within leaves the base model as it was, which takes milliseconds.

    Compares the modules, their hooks, and the weights by identity and by torch's count of changes in place.

    Raises:
        ModelError: The model is another one than before.
    """
    before = _state(model)
    yield
    after = _state(model)
    if before != after:
        changed = next(name for name in {**before, **after} if before.get(name) != after.get(name))
        raise ModelError(
            f"training has changed the base model ({changed or 'the model itself'}), so nothing that this process "
            "would predict could be trusted. Run the command again, and please report this."
        )


def _state(model: nn.Module) -> dict[str, Any]:
    """Return what identifies each module and each weight, by name."""
    state: dict[str, Any] = {}
    for name, module in model.named_modules():
        hooks = len(module._forward_hooks), len(module._forward_pre_hooks), "forward" in vars(module)
        state[name] = id(module), *hooks
    for name, weight in model.named_parameters():
        # A quantised weight may be packed anew when it is first used.
        if type(weight) is nn.Parameter and weight.is_floating_point():
            state[name] = id(weight), weight.dtype, None if weight.is_inference() else weight._version
    return state
