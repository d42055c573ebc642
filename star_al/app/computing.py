"""Open the compute that a campaign's settings name; and, on a worker, the model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from star_al.app.language_learners import how_texts_are_read, language_learner, model_path
from star_al.common.paging import pages
from star_al.common.wording import count
from star_al.compute.on_ray import RayCompute
from star_al.compute.ray_driver import Head
from star_al.compute.tasks import Encode, Order
from star_al.compute.worker import Opened
from star_al.config.spec import CampaignFile, CampaignSpec, RayComputeSpec
from star_al.errors import ClusterError
from star_al.parts import Parts
from star_al.ports import Advance, FitMember, Learner, MemberFiles
from star_al.task.columns import is_open
from star_al.types import Campaign, JsonObject

if TYPE_CHECKING:
    from star_al.app.language_learners import LanguageLearner
    from star_al.models.encoded import Encoded
    from star_al.models.encoder import SentenceEncoder

Work: TypeAlias = Literal["run", "predict"]
"""Works of one campaign that may go on at once."""

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Hosts that are this machine."""

OPENER = "star_al.app.computing:open_on_worker"
"""Opens the model on a worker."""

ENCODER_OPENER = "star_al.app.computing:open_encoder_on_worker"
"""Opens the sentence encoder."""

_OF_THE_MODEL = {"name", "task", "learner", "model", "adapter", "posterior", "head", "acquisition"}
"""Sections that a worker is told. Others say where data and people are, and may hold what is nobody's business."""


def _go_on() -> None:
    """Nothing stops the work."""


@contextmanager
def computing(
    file: CampaignFile, parts: Parts, check: Callable[[], None] = _go_on, *, name: Work = "run"
) -> Iterator[Parts]:
    """The same parts, with the compute that the campaign file names.

    Args:
        file: The campaign file.
        parts: The parts.
        check: Called while workers are waited for; raises if the campaign must stop.
        name: The work.

    Raises:
        ClusterError: Ray is not installed, or the cluster is not trusted.
    """
    settings = file.spec.compute
    if not isinstance(settings, RayComputeSpec):
        yield parts
        return
    require_ray(file, settings)
    with (
        open_ray(file, parts, settings, check, name) as compute,
        _encoding_on(compute, _encoder(parts)),
        _training_on(compute, parts.learner),
    ):
        yield replace(parts, compute=compute)


def open_ray(
    file: CampaignFile, parts: Parts, settings: RayComputeSpec, check: Callable[[], None], name: Work
) -> RayCompute:
    """The compute on a Ray cluster; it connects when there is something to do.

    Args:
        file: The campaign file.
        parts: The campaign; its language model and its sentence encoder are read on the workers.
        settings: The cluster.
        check: As for ``computing``.
        name: As for ``computing``.
    """
    models: list[tuple[object, Callable[[], Order]]] = []
    if not parts.spec.has_head_learner:
        models.append((parts.learner, lambda: _order(file, parts, settings.threads)))
    if (encoder := _encoder(parts)) is not None:
        models.append((encoder, lambda: _encoder_order(file, parts, encoder, settings.threads)))
    return RayCompute(
        settings,
        models,
        parts.artefacts,
        results_of(parts.campaign, name),
        parts.progress,
        splits=not is_open(parts.task),
        check=check,
    )


def results_of(campaign: Campaign, name: Work) -> str:
    """The name of a work's results, which no campaign of another database shares."""
    return f"{campaign.key}-{name}"


def _encoder(parts: Parts) -> SentenceEncoder | None:
    """The sentence encoder of the campaign's head; None without a head."""
    head = parts.learner if parts.spec.has_head_learner else parts.head
    return getattr(head, "encoder", None)


@contextmanager
def _encoding_on(compute: RayCompute, encoder: SentenceEncoder | None) -> Iterator[None]:
    """Let the workers read texts for the head."""
    if encoder is None:
        yield
        return

    def encode(texts: Sequence[str], advance: Advance) -> Encoded:
        from star_al.models.encoded import Encoded

        jobs = (Encode(tuple(part)) for part in pages(texts, -(-len(texts) // compute.room)))
        found_N_d = np.concatenate(list(compute.each(encoder, jobs, advance)))
        return Encoded(np.ascontiguousarray(found_N_d[:, :-1]), found_N_d[:, -1] > 0)

    encoder.elsewhere = encode
    try:
        yield
    finally:
        encoder.elsewhere = None


@contextmanager
def _training_on(compute: RayCompute, learner: Any) -> Iterator[None]:
    """Let the workers train the members of an ensemble."""
    if not hasattr(learner, "elsewhere"):
        yield
        return

    def train(jobs: Iterable[FitMember], advance: Advance) -> Iterator[MemberFiles]:
        return compute.each(learner, jobs, advance)

    learner.elsewhere = train
    try:
        yield
    finally:
        learner.elsewhere = None


def check_cluster(file: CampaignFile, settings: RayComputeSpec) -> str:
    """What can be said of the cluster without starting a worker.

    Raises:
        ClusterError: It cannot be used, or nobody listens.
    """
    require_ray(file, settings)
    ray = f"Ray {version('ray')}"
    if settings.address is None:
        return f"{ray}; {count(settings.workers, 'worker')} on this machine, started with the run"
    if not Head(settings.address).answers():
        raise ClusterError(
            f"{settings.address}: nobody listens. Start Ray there, or correct compute.address."
        )
    return f"{ray}; {settings.address} answers"


def require_ray(file: CampaignFile, settings: RayComputeSpec) -> None:
    """Check that Ray is installed and that the user trusts the cluster.

    Raises:
        ClusterError: It is not, or the user does not.
    """
    _require_trust(file, settings)
    if find_spec("ray") is None:
        raise ClusterError(
            "compute.kind: ray needs Ray, which is not installed. Run: pip install 'star-al[ray]'"
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


def _order(file: CampaignFile, parts: Parts, threads: int) -> Order:
    rounds = parts.store.rounds(parts.campaign.campaign_id)
    return Order(
        opener=OPENER,
        file=str(file.path),
        spec=_pinned(parts.spec, parts.learner),
        options={**how_texts_are_read(rounds), "batches": {}},  # the size of batches is among the settings
        model_key=parts.learner.base_key,
        threads=threads,
    )


def _encoder_order(file: CampaignFile, parts: Parts, encoder: SentenceEncoder, threads: int) -> Order:
    head, device = parts.spec.head.model_dump(mode="json"), parts.spec.model.device
    return Order(
        opener=ENCODER_OPENER,
        file=str(file.path),
        spec={name: head[name] for name in ("encoder", "revision", "max_tokens")},
        options={"device": device, "dtype": encoder.dtype},
        model_key=encoder.fingerprint,
        threads=threads,
    )


def _pinned(spec: CampaignSpec, learner: Learner) -> JsonObject:
    """What a worker is told of the settings; what this machine has found out (dtype, batch) is fixed."""
    tree = spec.model_dump(mode="json", include=_OF_THE_MODEL)
    data = spec.data.model_dump(mode="json", include={"text", "options", "label"})
    model: dict[str, Any] = {**tree["model"], "dtype": str(learner.versions()["dtype"])}
    if model["batch_tokens"] == "auto":
        model["batch_tokens"] = cast("LanguageLearner", learner).scoring_batch().tokens
    return {**tree, "model": model, "data": {**data, "path": "-"}, "annotator": {"kind": "api"}}


def open_on_worker(order: Order) -> Opened:
    """Open the language model of an order; a worker has nothing to tell the user."""
    from star_al.models.devices import use_threads

    use_threads(order.threads)
    spec = CampaignSpec.model_validate(order.spec)
    file = CampaignFile(path=Path(order.file), spec=spec)
    options: dict[str, Any] = dict(order.options)
    learner = language_learner(spec, model_path(file, spec.model.given_name), **options)
    return Opened(learner, learner.base_key)


def open_encoder_on_worker(order: Order) -> Opened:
    """Open the sentence encoder of an order."""
    from star_al.models.devices import use_threads
    from star_al.models.encoder import open_encoder

    use_threads(order.threads)
    wanted: dict[str, Any] = {**order.spec, **order.options}
    path = (Path(order.file).parent / Path(wanted["encoder"]).expanduser()).resolve()
    encoder = open_encoder(
        str(path) if path.exists() else wanted["encoder"],
        revision=wanted["revision"],
        device=wanted["device"],
        dtype=wanted["dtype"],
        max_tokens=wanted["max_tokens"],
    )
    return Opened(encoder, encoder.fingerprint)
