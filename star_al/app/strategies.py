"""Strategies by name, as settings of ``acquisition``, and the campaign that a strategy and a seed make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from star_al.config.spec import CampaignFile, CampaignSpec, PosteriorSpec
from star_al.errors import ConfigError
from star_al.stats.learning_curves import POSTERIOR_MARK
from star_al.types import StudyRun

AS_CONFIGURED = "config"
"""The strategy that is the campaign file's own."""

PLAIN: Mapping[str, Any] = {
    "measure": "entropy",
    "blend": {"kind": "off"},
    "batch": {"kind": "top_k", "near_duplicates": None, "balance": False},
    "control_share": 0.0,
    "adaptive_samples": None,
}
"""What every named strategy starts from: the entropy of the adapted model alone, and its top."""

STRATEGIES: Mapping[str, Mapping[str, Any]] = {
    "random": {"batch": {"kind": "random"}},
    "entropy": {},  # STAR without its blend
    "margin": {"measure": "margin"},
    "least_confidence": {"measure": "least_confidence"},
    "bald": {"measure": "bald"},
    "epig": {"measure": "epig"},
    "star": {"blend": {"kind": "schedule"}},
    "star_measured": {"blend": {"kind": "measured"}},
    "power": {"batch": {"kind": "power"}},
    "batchbald": {"measure": "bald", "batch": {"kind": "batchbald"}},
    "badge": {"batch": {"kind": "badge"}},
    "k_centre": {"batch": {"kind": "k_centre"}},
    "facility_location": {"batch": {"kind": "facility_location"}},
}
"""What each strategy changes of ``PLAIN``; other settings of ``acquisition`` are the campaign file's."""

POSTERIORS: tuple[str, ...] = tuple(
    get_args(section.model_fields["kind"].annotation)[0] for section in get_args(get_args(PosteriorSpec)[0])
)
"""Kinds of posterior, each of which a strategy may name: ``entropy@laplace``."""

LONGEST_NAME = 63


def known_strategies() -> tuple[str, ...]:
    """Every name that may be asked for."""
    return (*STRATEGIES, AS_CONFIGURED)


def with_posteriors(strategies: Sequence[str], posteriors: Sequence[str]) -> tuple[str, ...]:
    """Every strategy with every posterior, each once; without posteriors, or with one already, as it is."""
    crossed = (
        [strategy]
        if POSTERIOR_MARK in strategy or not posteriors
        else [f"{strategy}{POSTERIOR_MARK}{kind}" for kind in posteriors]
        for strategy in strategies
    )
    return tuple(dict.fromkeys(name for names in crossed for name in names))


def study_spec(file: CampaignFile, *, gold: str | None, rounds: int | None) -> CampaignSpec:
    """What the runs of a study have in common: the campaign, answered by ``gold``, with limits that are alike.

    Goals would end strategies at different points, and nobody is waited for: both are off.

    Raises:
        ConfigError: nobody knows the answers, nothing is measured, or nothing ends a run.
    """
    tree = file.spec.model_dump()
    if gold is not None:
        tree["annotator"] = {"kind": "oracle", "gold": gold}
        if tree["data"]["label"] == gold:
            tree["data"]["label"] = None  # else the whole pool would be labelled from the start
    if tree["annotator"]["kind"] != "oracle":
        raise ConfigError(
            f"{file.path}: a simulation needs to know the answers. Name the column that has them with --gold."
        )
    if file.spec.evaluation.kind == "none":
        raise ConfigError(
            f"{file.path}: nothing is measured. Set evaluation.kind to audit, or to test and name a file."
        )
    limits = {
        "max_labels": file.spec.stopping.max_labels,
        "max_rounds": rounds or file.spec.stopping.max_rounds,
    }
    if not any(limits.values()):
        raise ConfigError(
            f"{file.path}: nothing ends a run. Give --rounds, or set stopping.max_rounds or stopping.max_labels."
        )
    tree["stopping"] = limits
    tree["labelling"] |= {"buffer": 0, "close_share": 1.0, "close_after_hours": None}
    return _validated(tree, f"{file.path}")


def run_file(file: CampaignFile, run: StudyRun, folder: Path) -> CampaignFile:
    """The campaign of one run. ``file`` holds the study's spec; ``folder`` is for what only a running study needs.

    Runs of one seed draw the same held-out items and, but for a control arm of ``config``, the same first batch.
    A posterior that the strategy names has its defaults; the campaign's own keeps its settings.

    Raises:
        ConfigError: the strategy does not go with the campaign's other settings.
    """
    tree = file.spec.model_dump()
    tree["name"] = run.campaign
    tree["seed"] = (file.spec.seed + run.seed) % 2**63
    tree["database"]["url"] = file.spec.database.url or file.database_url  # its default is by the name
    tree["artefacts"] = str(folder / run.campaign)
    strategy, _, posterior = run.strategy.partition(POSTERIOR_MARK)
    if strategy != AS_CONFIGURED:
        tree["acquisition"] = _merged(_merged(tree["acquisition"], PLAIN), STRATEGIES[strategy])
    if posterior not in ("", file.spec.posterior.kind):
        tree["posterior"] = {"kind": posterior}
    spec = _validated(tree, f"{file.path}: strategy {run.strategy}")
    return CampaignFile(path=file.path, spec=spec, shared_trunk=folder / "trunk")


def run_of(study: str, strategy: str, seed: int) -> StudyRun:
    """A run and the name of its campaign.

    Raises:
        ConfigError: there is no such strategy or posterior, or the campaign's name would be too long.
    """
    named, mark, posterior = strategy.partition(POSTERIOR_MARK)
    if named not in known_strategies():
        raise ConfigError(f"there is no strategy {named!r}; there are {', '.join(known_strategies())}.")
    if mark and posterior not in POSTERIORS:
        raise ConfigError(f"there is no posterior {posterior!r}; there are {', '.join(POSTERIORS)}.")
    name = f"{study}.{strategy.replace(POSTERIOR_MARK, '-')}.{seed}"
    if len(name) > LONGEST_NAME:
        raise ConfigError(
            f"{name}: the name of a run's campaign would have {len(name)} characters, and {LONGEST_NAME} are "
            "allowed. Give the study a shorter name with --study."
        )
    return StudyRun(strategy, seed, name)


def _merged(section: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The section with the changes, one level of sections deep."""
    merged = dict(section)
    for key, value in changes.items():
        merged[key] = {**section[key], **value} if isinstance(value, Mapping) else value
    return merged


def _validated(tree: Mapping[str, Any], what: str) -> CampaignSpec:
    try:
        return CampaignSpec.model_validate(tree)
    except ValidationError as exc:
        reasons = [detail["msg"].removeprefix("Value error, ") for detail in exc.errors()]
        raise ConfigError(f"{what}: {'; '.join(reasons)}.") from exc
