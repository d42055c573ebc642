"""Open the compute that a campaign's settings name; and, on a worker, the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from star_al.app.compose import how_texts_are_read, language_learner, model_path
from star_al.compute.on_ray import RayCompute
from star_al.compute.results import ResultFiles
from star_al.compute.tasks import Order
from star_al.config.spec import CampaignFile, CampaignSpec, RayComputeSpec
from star_al.errors import ClusterError
from star_al.parts import Parts
from star_al.ports import Learner
from star_al.task.columns import is_open
from star_al.types import JsonObject

if TYPE_CHECKING:
    from star_al.app.compose import LanguageLearner

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
        ClusterError: Ray is not installed.
    """
    settings = file.spec.compute
    if not isinstance(settings, RayComputeSpec) or parts.spec.has_head_learner:
        yield parts
        return
    if find_spec("ray") is None:
        raise ClusterError(
            "compute.kind: ray needs Ray, which is not installed. Run: pip install 'star-al[ray]'"
        )
    compute = RayCompute(
        settings,
        parts.learner,
        lambda: _order(file, parts),
        parts.artefacts,
        ResultFiles(parts.artefacts.results(str(parts.campaign.campaign_id))),
        parts.progress,
        splits=not is_open(parts.task),
        check=check,
    )
    with compute:
        yield replace(parts, compute=compute)


def _order(file: CampaignFile, parts: Parts) -> Order:
    rounds = parts.store.rounds(parts.campaign.campaign_id)
    return Order(
        opener=OPENER,
        file=str(file.path),
        spec=_pinned(parts.spec, parts.learner),
        options={**how_texts_are_read(rounds), "batches": {}},  # the size of batches is among the settings
        base_key=parts.learner.base_key,
        artefacts=str(parts.artefacts.root),
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
