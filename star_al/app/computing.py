"""Open the compute that a campaign's settings name; and, on a worker, the model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from star_al.app.compose import how_texts_are_read, language_learner, model_path
from star_al.compute.on_ray import RayCompute
from star_al.compute.tasks import Order
from star_al.config.spec import CampaignFile, CampaignSpec, RayComputeSpec
from star_al.errors import ClusterError
from star_al.parts import Parts
from star_al.ports import Learner
from star_al.task.columns import is_open
from star_al.types import JsonObject

if TYPE_CHECKING:
    from star_al.app.compose import LanguageLearner

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Hosts that are this machine."""

OPENER = "star_al.app.computing:open_on_worker"
"""Opens the model on a worker."""

_OF_THE_MODEL = {"name", "task", "learner", "model", "adapter", "posterior", "head", "acquisition"}
"""Sections that a worker is told. Others say where data and people are, and may hold what is nobody's business."""


@contextmanager
def computing(file: CampaignFile, parts: Parts, check: Callable[[], None]) -> Iterator[Parts]:
    """The same parts, with the compute that the campaign file names.

    Args:
        file: The campaign file.
        parts: The parts.
        check: Called while workers are waited for; raises if the campaign must stop.

    Raises:
        ClusterError: Ray is not installed, or the cluster is not trusted.
    """
    settings = file.spec.compute
    if not isinstance(settings, RayComputeSpec) or parts.spec.has_head_learner:
        yield parts
        return
    _require_trust(file, settings)
    if find_spec("ray") is None:
        raise ClusterError(
            "compute.kind: ray needs Ray, which is not installed. Run: pip install 'star-al[ray]'"
        )
    with open_ray(file, parts, settings, check) as compute:
        yield replace(parts, compute=compute)


def open_ray(
    file: CampaignFile, parts: Parts, settings: RayComputeSpec, check: Callable[[], None]
) -> RayCompute:
    """The compute on a Ray cluster; it connects when there is something to do.

    Args:
        file: The campaign file.
        parts: The campaign; its learner predicts on the workers.
        settings: The cluster.
        check: As for ``computing``.
    """
    return RayCompute(
        settings,
        parts.learner,
        lambda: _order(file, parts),
        parts.artefacts,
        str(parts.campaign.campaign_id),
        parts.progress,
        splits=not is_open(parts.task),
        check=check,
    )


def _require_trust(file: CampaignFile, settings: RayComputeSpec) -> None:
    """Refuse a cluster on another machine that only the campaign file names; the file may come from somebody else.

    Raises:
        ClusterError: The user has not named it.
    """
    address = settings.address
    if address is None or address.rpartition(":")[0] in LOOPBACK or os.environ.get("RAY_ADDRESS") == address:
        return
    raise ClusterError(
        f"{file.path}: compute.address: a Ray cluster can run programs on this machine, so you have to name it, "
        f"too. If you trust {address}, run: export RAY_ADDRESS={address}"
    )


def _order(file: CampaignFile, parts: Parts) -> Order:
    rounds = parts.store.rounds(parts.campaign.campaign_id)
    return Order(
        opener=OPENER,
        file=str(file.path),
        spec=_pinned(parts.spec, parts.learner),
        options={**how_texts_are_read(rounds), "batches": {}},  # the size of batches is among the settings
        base_key=parts.learner.base_key,
        artefacts=parts.artefacts.place,
    )


def _pinned(spec: CampaignSpec, learner: Learner) -> JsonObject:
    """What a worker is told of the settings; what this machine has found out (dtype, batch) is fixed."""
    tree = spec.model_dump(mode="json", include=_OF_THE_MODEL)
    data = spec.data.model_dump(mode="json", include={"text", "options", "label"})
    model: dict[str, Any] = {**tree["model"], "dtype": str(learner.versions()["dtype"])}
    if model["batch_tokens"] == "auto":
        model["batch_tokens"] = cast("LanguageLearner", learner).scoring_batch().tokens
    return {**tree, "model": model, "data": {**data, "path": "-"}, "annotator": {"kind": "api"}}


def open_on_worker(order: Order) -> Learner:
    """Open the language model of an order; a worker has nothing to tell the user."""
    spec = CampaignSpec.model_validate(order.spec)
    file = CampaignFile(path=Path(order.file), spec=spec)
    options: dict[str, Any] = dict(order.options)
    return language_learner(spec, model_path(file, spec.model.given_name), **options)
