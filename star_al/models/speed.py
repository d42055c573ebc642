"""How large a model is and how fast this machine computes, without loading any weights."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

from star_al.errors import ModelError
from star_al.models.devices import DTYPES, resolve_device, resolve_dtype
from star_al.models.hub_download import download_model, find_cached
from star_al.models.quiet import quiet

_SHAPE = (256, 512, 2048)
"""Sizes of the timed product: small, so that many fit into the time, and the fastest has no other load beside it."""

_SECONDS = 0.4
"""How long products are timed."""

_CONFIG = ("config.json",)

_EXPERTS_USED = "num_experts_per_tok"
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
"""Names of the settings of models that compute some of their experts only."""

_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9}


def parameters_used(path: str, revision: str | None) -> float | None:
    """Return how many parameters a model multiplies each token by: all but embeddings and experts that rest.

    Args:
        path: A folder, or a name on the hub, of which only config.json is fetched.
        revision: Branch, tag or commit of a hub name.

    Returns:
        The number by the configuration, or else that in the model's name; None if neither tells it.
    """
    try:
        return _by_config(_config(path, revision))
    except (ModelError, OSError, ValueError, KeyError, AttributeError, RuntimeError):
        return _by_name(path)


def products_per_second(device: str, dtype: str) -> float:
    """Time matrix products of the kind that a language model computes.

    Args:
        device: As ``model.device``.
        dtype: As ``model.dtype``.

    Returns:
        Multiplications and additions of numbers a second.

    Raises:
        ModelError: This machine has no such device.
    """
    place = resolve_device(device)
    kind = DTYPES[resolve_dtype(dtype, place)]
    rows, inner, columns = _SHAPE
    left = torch.ones((rows, inner), dtype=kind, device=place)
    right = torch.ones((inner, columns), dtype=kind, device=place)
    threads = torch.get_num_threads() if place.type == "cpu" else 1
    with _one_thread():  # of several, one would wait for those that other programs hold up
        best, start = math.inf, time.perf_counter()
        while time.perf_counter() - start < _SECONDS or best == math.inf:
            best = min(best, _seconds_of_product(left, right))
    return threads * math.prod(_SHAPE) / best


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _seconds_of_product(left: torch.Tensor, right: torch.Tensor) -> float:
    start = time.perf_counter()
    torch.mm(left, right)
    if left.device.type == "cuda":
        torch.cuda.synchronize(left.device)
    return time.perf_counter() - start


def _config(path: str, revision: str | None) -> Any:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        folder = find_cached(path, revision, _CONFIG) or download_model(path, revision, _CONFIG)
    with quiet():
        return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _by_config(config: Any) -> float:
    with quiet(), torch.device("meta"):  # shapes without memory
        model = transformers.AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    embeddings = {id(each.weight) for each in (model.get_input_embeddings(), model.get_output_embeddings())}
    used = _share_of_experts(config.get_text_config())
    counts = [
        parameter.numel() * (used if ".experts." in name else 1)
        for name, parameter in model.named_parameters()
        if id(parameter) not in embeddings
    ]
    return float(sum(counts))


def _share_of_experts(config: Any) -> float:
    experts = next((count for name in _EXPERTS if (count := getattr(config, name, None))), None)
    used = getattr(config, _EXPERTS_USED, None)
    return used / experts if used and experts else 1.0


def _by_name(path: str) -> float | None:
    """The number of parameters that names such as ``Qwen3-0.6B`` and ``SmolLM2-135M`` tell."""
    found = re.search(r"(?i)(?<![a-z0-9.])(\d+(?:\.\d+)?)([kmb])(?![a-z])", Path(path).name)
    return None if found is None else float(found[1]) * _UNITS[found[2].upper()]
