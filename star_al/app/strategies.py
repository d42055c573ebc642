"""Named strategies as settings of ``acquisition``, and the campaign of a strategy and a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from star_al.common.sqlite_address import split_sqlite_address
from star_al.config.spec import (
    FROM_FILE,
    AcquisitionSpec,
    CampaignFile,
    CampaignSpec,
    PosteriorSpec,
    RayComputeSpec,
)
from star_al.errors import ConfigError
from star_al.stats.learning_curves import POSTERIOR_MARK
from star_al.types import StudyRun

AS_CONFIGURED = "config"
"""The strategy that uses the campaign file's own settings."""

PLAIN: Mapping[str, Any] = {
    "measure": "entropy",
    "blend": {"kind": "off"},
    "batch": {"kind": "top_k", "near_duplicates": None, "balance": False},
    "control_share": 0.0,
    "adaptive_samples": None,
    "shortlist": {"share": 1.0, "size": None},
}
"""The settings that named strategies start from: the adapted model's entropy, highest first."""


def _recommended() -> dict[str, Any]:
    """The settings of the preset, as far as they differ from ``PLAIN``."""
    preset = AcquisitionSpec(preset="recommended").model_dump()
    kept = ("cold_start", "measure", "blend", "batch")
    return {name: preset[name] for name in kept}


STRATEGIES: Mapping[str, Mapping[str, Any]] = {
    "random": {"batch": {"kind": "random"}},
    "entropy": {},  # STAR without its blend
    "margin": {"measure": "margin"},
    "least_confidence": {"measure": "least_confidence"},
    "bald": {"measure": "bald"},
    "epig": {"measure": "epig"},
    "star": {"blend": {"kind": "schedule"}},
    "star_measured": {"blend": {"kind": "measured"}},
    "star_prequential": {"blend": {"kind": "prequential"}},
    "power": {"batch": {"kind": "power"}},
    "batchbald": {"measure": "bald", "batch": {"kind": "batchbald"}},
    "badge": {"batch": {"kind": "badge"}},
    "k_centre": {"batch": {"kind": "k_centre"}},
    "facility_location": {"batch": {"kind": "facility_location"}},
    "idds": {"batch": {"kind": "idds"}},
    "cluster_margin": {"measure": "margin", "batch": {"kind": "cluster_margin"}},
    "uncertainty_herding": {"measure": "margin", "batch": {"kind": "uncertainty_herding"}},
    "recommended": _recommended(),
}
"""What each strategy changes in ``PLAIN``; other ``acquisition`` settings come from the campaign file."""

START_MARK = ":"
"""Between a strategy and how its first batch is chosen, as in ``margin:herding``."""

STARTS: tuple[str, ...] = tuple(
    start
    for start in get_args(AcquisitionSpec.model_fields["cold_start"].annotation)
    if start != "search"  # it looks for given words, so it is no strategy by itself
)
"""Starts that a strategy may name."""

BY_HEAD = "head"
"""What a strategy names in place of a posterior if a head ranks the pool, as in ``margin@head``."""

POSTERIORS: tuple[str, ...] = tuple(
    get_args(section.model_fields["kind"].annotation)[0] for section in get_args(get_args(PosteriorSpec)[0])
)
"""Posterior kinds that a strategy may name, as in ``entropy@laplace``."""

LONGEST_NAME = 63


def known_strategies() -> tuple[str, ...]:
    """Return the names of all strategies."""
    return (*STRATEGIES, AS_CONFIGURED)


def with_posteriors(strategies: Sequence[str], posteriors: Sequence[str]) -> tuple[str, ...]:
    """Combine strategies with posteriors, without repetition.

    A strategy that names its posterior stays as it is.
    """
    crossed = (
        [strategy]
        if POSTERIOR_MARK in strategy or not posteriors
        else [f"{strategy}{POSTERIOR_MARK}{kind}" for kind in posteriors]
        for strategy in strategies
    )
    return tuple(dict.fromkeys(name for names in crossed for name in names))


def study_spec(file: CampaignFile, *, gold: str | None, rounds: int | None) -> CampaignSpec:
    """Return the settings that all runs of a study share.

    Stopping goals are off, since they would end strategies at different points, and so is the buffer, since
    an oracle answers at once.

    Args:
        file: The campaign to simulate.
        gold: Column of correct answers, in place of the campaign's annotator.
        rounds: Trained rounds, in place of ``stopping.max_rounds``.

    Raises:
        ConfigError: No column has the answers, nothing is evaluated, or nothing ends a run.
    """
    tree = file.spec.model_dump()
    if gold is not None:
        tree["annotator"] = {"kind": "oracle", "gold": gold}
        if tree["data"]["label"] == gold:
            tree["data"]["label"] = None  # else the whole pool would be labelled from the start
    if tree["annotator"]["kind"] != "oracle":
        raise ConfigError(
            f"{file.path}: a simulation needs the correct answers. Name their column with --gold."
        )
    if file.spec.evaluation.kind == "none":
        raise ConfigError(
            f"{file.path}: a simulation needs held-out labels. Set evaluation.kind to audit, or to test with a file."
        )
    limits = {
        "max_labels": file.spec.stopping.max_labels,
        "max_rounds": rounds or file.spec.stopping.max_rounds,
    }
    if not any(limits.values()):
        raise ConfigError(
            f"{file.path}: runs would never stop. Give --rounds, or set stopping.max_rounds or stopping.max_labels."
        )
    tree["stopping"] = limits
    compute = file.spec.compute
    if isinstance(compute, RayComputeSpec) and (compute.address is None or file.artefact_address is not None):
        # Runs beside each other keep this machine busy already; and what they write stays in folders.
        tree["compute"] = {"kind": "local"}
    tree["labelling"] |= {"buffer": 0, "close_share": 1.0, "close_after_hours": None}
    return _validated(tree, f"{file.path}")


def run_file(file: CampaignFile, run: StudyRun, folder: Path, *, earlier: bool = False) -> CampaignFile:
    """Return the campaign of one run.

    Runs with the same seed draw the same held-out items, and the same first batch unless their starts differ
    or ``config`` has a control arm. A posterior that the strategy names has default settings, unless it is the
    campaign's own.

    Args:
        file: The campaign file with the study's settings.
        run: The strategy, the seed and the campaign's name.
        folder: Where files go that only a running study needs.
        earlier: True for a study that an earlier version began: its posteriors keep the defaults of then.

    Raises:
        ConfigError: The strategy cannot be combined with the campaign's other settings.
    """
    tree = file.spec.model_dump()
    tree["name"] = run.campaign
    tree["seed"] = (file.spec.seed + run.seed) % 2**63
    tree["database"]["url"] = file.spec.database.url or _own_file(file)
    shared = _shared_folder(file, folder)
    tree["artefacts"] = str(shared / run.campaign)
    strategy, start, scorer = _parts_of(run.strategy)
    if strategy != AS_CONFIGURED:
        plain = {**PLAIN, "cold_start": _plain_start(file.spec.acquisition, strategy)}
        tree["acquisition"] = _merged(_merged(tree["acquisition"], plain), STRATEGIES[strategy])
    if start:
        tree["acquisition"]["cold_start"] = start
    if scorer == BY_HEAD:
        tree["acquisition"]["scorer"] = BY_HEAD
    elif scorer not in ("", file.spec.posterior.kind):
        tree["posterior"] = {"kind": scorer} if earlier else _default_posterior(scorer)
    spec = _validated(tree, f"{file.path}: strategy {run.strategy}")
    return CampaignFile(path=file.path, spec=spec, shared_trunk=shared / "trunk")


def _shared_folder(file: CampaignFile, folder: Path) -> Path:
    """Where the files of a study's runs are: with a cluster, in the folder that its machines share.

    Args:
        file: The campaign file.
        folder: Where they are without one.
    """
    shares = isinstance(file.spec.compute, RayComputeSpec) and file.spec.artefacts is not None
    return file.artefact_folder if shares else folder


def _default_posterior(kind: str) -> dict[str, Any]:
    """The section of a posterior whose kind is all that a new campaign's file says."""
    section: PosteriorSpec = TypeAdapter(PosteriorSpec).validate_python({"kind": kind}, context=FROM_FILE)
    return section.model_dump()


def _plain_start(acquisition: AcquisitionSpec, strategy: str) -> str:
    """How a strategy without a start of its own begins: as the file says, but not with the preset's good start.

    Random choice is random from its first batch on, since a study measures what the others save against it.
    """
    preset = STRATEGIES.get(acquisition.preset, {})
    is_presets = acquisition.cold_start == preset.get("cold_start")
    return "random" if strategy == "random" or is_presets else acquisition.cold_start


def _own_file(file: CampaignFile) -> str | None:
    """The campaign's own SQLite file, whose name depends on the campaign's; None if the environment names another.

    That one is left to the environment: its URL may hold a password, and settings are stored.
    """
    url = file.database_url
    return url if split_sqlite_address(url) else None


def run_of(study: str, strategy: str, seed: int) -> StudyRun:
    """Return a run with the name of its campaign.

    Raises:
        ConfigError: There is no such strategy, start or posterior, or the campaign's name would be too long.
    """
    named, start, scorer = _parts_of(strategy)
    if named not in known_strategies():
        raise ConfigError(
            f"there is no strategy {named!r}; the strategies are {', '.join(known_strategies())}."
        )
    if start not in STARTS and START_MARK in strategy:
        raise ConfigError(f"there is no start {start!r}; the starts are {', '.join(STARTS)}.")
    if scorer not in (*POSTERIORS, BY_HEAD) and POSTERIOR_MARK in strategy:
        raise ConfigError(
            f"there is no posterior {scorer!r}; the posteriors are {', '.join(POSTERIORS)}, "
            f"and {BY_HEAD} for a head that ranks the texts."
        )
    name = f"{study}.{strategy.replace(POSTERIOR_MARK, '-').replace(START_MARK, '-')}.{seed}"
    if len(name) > LONGEST_NAME:
        raise ConfigError(
            f"{name}: this campaign name has {len(name)} characters, and at most {LONGEST_NAME} are allowed. "
            "Give the study a shorter name with --study."
        )
    return StudyRun(strategy, seed, name)


def _parts_of(strategy: str) -> tuple[str, str, str]:
    """The strategy proper, its start, and its posterior or ``BY_HEAD``; empty where it names none."""
    name, _, scorer = strategy.partition(POSTERIOR_MARK)
    name, _, start = name.partition(START_MARK)
    return name, start, scorer


def _merged(section: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Apply changes to a section and the sections directly in it."""
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
