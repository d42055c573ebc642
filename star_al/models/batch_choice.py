"""How many tokens to score together: measured once for a machine, a model, a dtype and a device, and kept.

On a CPU the matrix products of large minibatches fall out of the processor's cache, and those of small ones are
dominated by overhead. Where the best size lies depends on the machine and the model, so it is timed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import torch

from star_al.common.user_cache import cache_folder
from star_al.models.backbone import Backbone
from star_al.models.out_of_memory import is_out_of_memory
from star_al.models.prompts import Prompt
from star_al.models.quiet import quiet

UNMEASURED_TOKENS = 4096
"""The batch of models that are not measured, and of all campaigns that began before batches were measured."""

SMALLEST_MEASURED = 20e6
"""Parameters from which on a model is measured: a smaller one reads any batch in a moment."""

_CANDIDATES = {"cuda": (4096, 8192, 16_384, 32_768), "other": (384, 768, 1536, 3072)}

_LENGTHS = (112, 120, 128, 136, 144)
"""Lengths of the timed texts in tokens: unequal, as those of a real batch are."""

_SECONDS = 6.0
"""No further turn begins after this time; the first is always completed."""

_TURNS = 3

_WORSE = 1.1
"""A batch this much slower than the best so far ends a turn: larger ones would be slower still."""

_NEARLY = 1.02
"""Of batches that are within this factor of the fastest, the smallest is taken: it needs least memory."""

Read = Callable[[Sequence[Prompt]], object]
"""Reads some prompts as one minibatch."""


@dataclass(frozen=True)
class BatchChoice:
    """The size of scoring minibatches.

    Attributes:
        tokens: Padded tokens of a minibatch, at most.
        microseconds: What a token takes by number of tokens in a minibatch; empty if nothing was measured.
    """

    tokens: int
    microseconds: dict[int, float]

    def in_words(self) -> str:
        """Say which batch is used and why, without a full stop."""
        if not self.microseconds:
            return f"scores {self.tokens:,} tokens together"
        timed = ", ".join(f"{value:.0f} µs with {size:,}" for size, value in self.microseconds.items())
        return f"scores {self.tokens:,} tokens together, the best measured (a token takes {timed})"


def choose_batch(backbone: Backbone, read: Read) -> BatchChoice:
    """Return the batch for this machine, from the user's cache if it was measured before.

    Where several processes measure at once, all take what the first one keeps.

    Args:
        backbone: The model, loaded.
        read: Reads a minibatch as scoring does.
    """
    if sum(parameter.numel() for parameter in backbone.model.parameters()) < SMALLEST_MEASURED:
        return BatchChoice(UNMEASURED_TOKENS, {})
    file = cache_folder() / "batches" / f"{_key(backbone)}.json"
    return _kept(file) or _keep(file, _measure(backbone, read))


def _key(backbone: Backbone) -> str:
    parts = [backbone.fingerprint, backbone.versions(), _processor(), os.cpu_count()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@lru_cache(maxsize=1)
def _processor() -> str:
    """Return the processor's name; where Linux does not tell it, its architecture."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _kept(file: Path) -> BatchChoice | None:
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        timed = {int(size): float(value) for size, value in raw["microseconds"].items()}
        return BatchChoice(int(raw["tokens"]), timed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(file: Path, choice: BatchChoice) -> BatchChoice:
    """Keep a choice unless another process has kept one, and return what is kept."""
    if not choice.microseconds:  # there was no room for a single batch, for now
        return choice
    with suppress(OSError):  # without it the next start measures again, no more
        if _kept(file) is None:
            file.unlink(missing_ok=True)  # damaged
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".tmp", encoding="utf-8") as new:
            json.dump(asdict(choice), new)
            new.flush()
            os.link(new.name, file)  # fails if there is one
    return _kept(file) or choice


def _measure(backbone: Backbone, read: Read) -> BatchChoice:
    candidates = _CANDIDATES["cuda" if backbone.device.type == "cuda" else "other"]
    best: dict[int, float] = {}
    start = time.perf_counter()
    with quiet():
        next(_turn(backbone, read, candidates[:1]), None)  # warms up
        for turn in range(_TURNS):
            if turn and time.perf_counter() - start > _SECONDS:
                break
            for size, microseconds in _turn(backbone, read, candidates):
                best[size] = min(microseconds, best.get(size, math.inf))
    if not best:
        return BatchChoice(candidates[0], {})
    fastest = min(best.values())
    tokens = min(size for size, microseconds in best.items() if microseconds <= _NEARLY * fastest)
    return BatchChoice(tokens, {size: round(value, 1) for size, value in sorted(best.items())})


def _turn(backbone: Backbone, read: Read, candidates: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Yield sizes, the smallest first, with the microseconds of a token; not those that are hopeless."""
    fastest = math.inf
    for size in candidates:
        try:
            seconds, tokens = _seconds(backbone, read, size)
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
            return
        microseconds = seconds / tokens * 1e6
        yield size, microseconds
        if microseconds > _WORSE * fastest:
            return
        fastest = min(fastest, microseconds)


def _seconds(backbone: Backbone, read: Read, size: int) -> tuple[float, int]:
    """Return how long a minibatch takes, and how many tokens it has."""
    prompts = _prompts(size, backbone.context, backbone.readout.head.weight.shape[0])
    _synchronise(backbone.device)
    start = time.perf_counter()
    read(prompts)
    _synchronise(backbone.device)
    return time.perf_counter() - start, sum(map(len, prompts))


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _prompts(size: int, context: int, vocabulary: int) -> list[Prompt]:
    """Return prompts of unequal lengths that fill a minibatch of ``size`` tokens, with two labels of one token."""
    lengths = [min(length, context - 1) for length in _LENGTHS]
    count = max(1, size // max(lengths))
    tokens = [(number * 7919 + 11) % vocabulary for number in range(max(lengths) + count)]
    return [
        Prompt(f"{row:04d}", tuple(tokens[row : row + lengths[row % len(lengths)]]), ((1,), (2,)))
        for row in range(count)
    ]
