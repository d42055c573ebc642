"""What is sent to the processes that train together, and what they send back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from star_al.config.spec import TrainingSpec
from star_al.models.activation_cache import CachePlace
from star_al.models.classifier import Classifier


@dataclass(frozen=True)
class Setup:
    """What a process holds for all adapters that it trains.

    Attributes:
        folder: The base model's folder.
        dtype: Its dtype.
        quantise: How it is quantised when it is loaded.
        device: This process's device.
        training: How the work is divided.
        threads: How many it computes with.
        has_trunk: True if frozen blocks are computed once a text.
        cache: Where their activations are kept.
    """

    folder: Path
    dtype: str
    quantise: str
    device: str
    training: TrainingSpec
    threads: int
    has_trunk: bool
    cache: CachePlace | None


@dataclass(frozen=True)
class Order:
    """An adapter to train; the arguments of ``star_al.models.train.train``, and what predicts the labels.

    Attributes:
        arguments: By name.
        classifier: What is read in place of the model's head, on a CPU; ``None`` for the head.
    """

    arguments: Mapping[str, Any]
    classifier: Classifier | None


MessageKind: TypeAlias = Literal["steps", "trained", "out of memory", "failed", "ended"]
"""What a message of a process is about.

Its content is the number of steps, what was trained, the library's message, the error, or the exit code.
"""
