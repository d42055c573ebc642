"""Where models run and in what precision: threads, devices and dtypes, without the libraries of language models."""

from __future__ import annotations

import os
import time
from functools import cache

import torch

from star_al.common.wording import count
from star_al.errors import ModelError

DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
"""Dtypes that a model may run in, by name. Not float16: nearly all gradients would underflow to zero."""


SLOW = 2.0
"""A dtype that takes so many times as long as float32 is worth a word."""


FEWEST_TRIES, MOST_TRIES = 3, 50
"""How often the probe multiplies."""

FAR_APART = 4.0
"""If one dtype takes so many times as long as the other, the fewest tries are enough."""


def use_threads(n: int) -> None:
    """Let torch compute with ``n`` threads from now on."""
    torch.set_num_threads(n)


def threads_in_use() -> int:
    """Return the number of threads that torch computes with; it may change the last digits of a result."""
    return torch.get_num_threads()


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is CUDA if there is one, else the CPU.

    Raises:
        ModelError: This machine has no such device.
    """
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as exc:
        raise ModelError(
            f"model.device {name!r} cannot be used: {first_line(exc)}. Use auto, cpu or cuda."
        ) from exc
    if device.type == "cuda":
        # cuBLAS sums in a fixed order only with this; it reads the variable when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return device


def require_gpus(device: torch.device, n: int, setting: str) -> None:
    """Check that there are ``n`` GPUs from ``device`` on.

    Args:
        device: The first one.
        n: How many are wanted.
        setting: The setting that wants them.

    Raises:
        ModelError: There are fewer, or it is no GPU of CUDA.
    """
    if n == 1:
        return
    if device.type != "cuda":
        raise ModelError(f"{setting}: {n} needs GPUs of CUDA, not {device.type}. Set it to 1.")
    first = device.index or 0
    there = torch.cuda.device_count() - first
    if there < n:
        after = f" from cuda:{first} on" if first else ""
        raise ModelError(
            f"{setting} is {n}, but this machine has {count(there, 'GPU')}{after}. Set it to {max(1, there)}."
        )


def resolve_dtype(name: str, device: torch.device) -> str:
    """Return the dtype to run in; ``auto`` is bfloat16 if a short probe finds it no slower than float32.

    Raises:
        ModelError: It is not one of ``DTYPES``.
    """
    if name in DTYPES:
        return name
    if name != "auto":
        raise ModelError(
            f"model.dtype {name!r} cannot be used: adapters are trained in {' or '.join(DTYPES)}. "
            "Start a new campaign in one of them."
        )
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and bfloat16_cost() <= 1.0 else "float32"


def slowness_of(dtype: str, device: str) -> float:
    """How many times as long as in float32 a matrix product takes in a dtype; 1 where it is not ``SLOW`` or more.

    Args:
        dtype: One of ``DTYPES``.
        device: Where it is computed; probed if it is the CPU.
    """
    cost = bfloat16_cost() if dtype == "bfloat16" and device == "cpu" else 1.0
    return cost if cost >= SLOW else 1.0


@cache
def bfloat16_cost() -> float:
    """Return how many times as long as in float32 a matrix product takes in bfloat16 on this CPU, by a short probe.

    With matrix units bfloat16 wins by far, without them it loses by far.
    """
    # Products are short, alternate between dtypes, and the fastest of many counts: other load on the machine
    # then does not flip the answer.
    shapes = ((256, 512), (512, 512))
    dtypes = (torch.bfloat16, torch.float32)
    pairs = {dtype: [torch.ones(shape, dtype=dtype) for shape in shapes] for dtype in dtypes}
    best = dict.fromkeys(pairs, float("inf"))
    for tries in range(MOST_TRIES):
        apart = max(best.values()) / min(best.values()) if tries else 1.0
        if (
            tries >= FEWEST_TRIES and apart >= FAR_APART
        ):  # where it is slow, the other tries would take seconds
            break
        for dtype, (left, right) in pairs.items():
            start = time.perf_counter()
            torch.mm(left, right)
            best[dtype] = min(best[dtype], time.perf_counter() - start)
    return best[torch.bfloat16] / best[torch.float32]


def first_line(exc: BaseException) -> str:
    """Return the first line of a library's error message, short enough to quote in one of ours."""
    lines = str(exc).strip().splitlines()
    return lines[0][:300] if lines else type(exc).__name__
