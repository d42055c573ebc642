"""Every posterior that a campaign file can name, with settings that keep tests fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from star_al.app.language_learners import posterior_method
from star_al.config.spec import CampaignSpec, PosteriorSpec
from star_al.models.learner import LoraLearner
from star_al.task import closed, make_task
from star_al.types import Item

LABELS = ("sport", "sports", "tech", "politics")  # the first begins the second; all have several tokens
WORDS = ("striker scored", "cup final", "phone chip", "minister election")

_FEW = {"samples": 3, "members": 2, "hidden": 4, "texts": 8}

_NEW: Mapping[str, Mapping[str, Any]] = {"laplace": {"prior_mean": "start"}, "tfb": {"rule": "predictions"}}
"""What new campaigns have by default; sections that do not come from a file are of earlier versions."""


def _kinds() -> dict[str, type[Any]]:
    union, _ = get_args(PosteriorSpec)
    return {get_args(spec.model_fields["kind"].annotation)[0]: spec for spec in get_args(union)}


def quick(kind: str, **settings: Any) -> dict[str, Any]:
    """Return the ``posterior`` section of a kind, with few samples."""
    few = {name: value for name, value in _FEW.items() if name in _kinds()[kind].model_fields}
    return {"kind": kind, **few, **_NEW.get(kind, {}), **settings}


EVERY: Mapping[str, Mapping[str, Any]] = {kind: quick(kind) for kind in sorted(_kinds())} | {
    "clora token": quick("clora", context="token"),
    "laplace last_layer": quick("laplace", subset="last_layer", prior_mean="zero"),
    "tfb loss": quick("tfb", rule="loss"),
}
"""Sections by test name: each kind with its defaults, and settings that take another code path."""


def learner(
    folder: Path,
    posterior: Mapping[str, Any] = MappingProxyType({"kind": "map"}),
    *,
    dtype: str = "float32",
    batches: Mapping[str, int] | None = None,
    features: Path | None = None,
    packs_base_embeddings: bool = False,
    classifier_reads_text: bool = True,
    **sections: Any,
) -> LoraLearner:
    """Return a learner on the model in ``folder`` that classifies into ``LABELS``."""
    spec = CampaignSpec.model_validate(
        {
            "name": "test",
            "data": {"path": "pool.jsonl"},
            "task": {"kind": "classification", "labels": LABELS},
            "model": {"name": "tiny", "dtype": dtype, "device": "cpu", "max_tokens": 120}
            | sections.pop("model", {}),
            "adapter": {"learning_rate": 1e-2, "dropout": 0.3, "rank": 4, "epochs": 2}
            | sections.pop("adapter", {}),
            "posterior": dict(posterior),
            "annotator": {"kind": "oracle", "gold": "gold"},
            **sections,
        }
    )
    method = posterior_method(spec.posterior)
    return LoraLearner(
        closed(make_task(spec.task)),
        spec,
        str(folder),
        method,
        batches=batches,
        features=features,
        packs_base_embeddings=packs_base_embeddings,
        classifier_reads_text=classifier_reads_text,
    )


def items(n: int = 8) -> list[Item]:
    """Return items of different lengths."""
    return [Item(f"id{index:03d}", f"The {WORDS[index % 4]} " * (1 + index % 5)) for index in range(n)]


def examples(n: int = 8) -> list[tuple[Item, str]]:
    """Return items with their labels."""
    return [(item, LABELS[index % 4]) for index, item in enumerate(items(n))]


def fit(one: LoraLearner, folder: Path, *, seed: int = 0, parent: Path | None = None, n: int = 8) -> Path:
    """Train into a new folder and return it."""
    folder.mkdir(parents=True)
    one.fit(examples(n), seed=seed, folder=folder, parent=parent, advance=ignore)
    return folder


def predict(
    one: LoraLearner,
    folder: Path | None,
    of: Sequence[Item] | None = None,
    *,
    mean: bool = False,
    seed: int = 0,
) -> Any:
    """Predict log-probabilities (N, K, C) with the configured samples, or with the mean or mode (K = 1)."""
    draws = None if mean else range(one._spec.posterior.samples)
    chosen = items() if of is None else of
    return one.predict(folder, chosen, draws=draws, seed=seed, advance=ignore).log_probs_N_K_C


def ignore(*_: int) -> None:
    """Ignore the progress."""
