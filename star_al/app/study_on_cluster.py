"""Run the campaigns of a study on the workers of a Ray cluster, each as a whole on one of them.

Many runs of one thread each keep a cluster busier than one run whose predictions are divided. A worker trains, scores
and writes to the study's database itself, so that it needs what a machine that runs ``star-al`` needs.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from star_al import __version__, errors
from star_al.app import running
from star_al.app.computing import require_ray
from star_al.artefacts.folder import ArtefactFolder
from star_al.common.sqlite_address import split_sqlite_address
from star_al.compute.on_ray import RayCompute
from star_al.compute.tasks import Order, RunCampaign
from star_al.compute.worker import Opened
from star_al.config.spec import CampaignFile, CampaignSpec, LocalComputeSpec, RayComputeSpec
from star_al.errors import LeaseHeldError, StarALError
from star_al.ports import Advance, MemberFiles, Progress, ignore
from star_al.types import JsonObject

OPENER = "star_al.app.study_on_cluster:open_on_worker"
"""Opens a ``Runner`` on a worker."""

OUTCOME = "outcome.json"
"""The file by which a worker says how a run ended."""

LEASE_PAUSE = 1.0
"""Seconds before a run is tried again whose lease a lost worker still holds."""


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended, and how long it took."""

    seconds: float
    error: StarALError | None


def cluster_for_runs(file: CampaignFile) -> RayComputeSpec | None:
    """The cluster that runs can go to as a whole: it has other machines, and a server has the database; else None."""
    compute = file.spec.compute
    if not isinstance(compute, RayComputeSpec) or compute.address is None:
        return None
    return compute if split_sqlite_address(file.database_url) is None else None


def run_on_cluster(
    settings: RayComputeSpec,
    files: Mapping[str, CampaignFile],
    shared: Path,
    progress: Progress,
    begun: Callable[[str], None],
    advance: Advance,
) -> Iterator[tuple[str, RunOutcome]]:
    """Run campaigns on the workers, as many at once as there are workers.

    Args:
        settings: The cluster.
        files: The campaigns by name.
        shared: A folder that all machines have at the same path.
        progress: Where the user is told what happens.
        begun: Called with a campaign's name when it goes out.
        advance: Called when some campaign has got on.

    Yields:
        Names and outcomes, in the order of ``files``.

    Raises:
        ClusterError: The cluster cannot be used, or was lost for too long.
    """
    any_file = next(iter(files.values()))
    require_ray(any_file, settings)
    attempt, runner = uuid.uuid4().hex, object()
    order = Order(OPENER, str(any_file.path), {}, {"shared": str(shared)}, __version__, settings.threads)

    def jobs() -> Iterator[RunCampaign]:
        for name, file in files.items():
            begun(name)
            spec = file.spec.model_copy(update={"compute": LocalComputeSpec(kind="local")})
            yield RunCampaign(name, spec.model_dump(mode="json"), attempt)

    outcomes = ArtefactFolder(shared / "outcomes")
    outcomes.prepare()
    with RayCompute(
        settings, [(runner, lambda: order)], outcomes, attempt, progress, splits=False, check=lambda: None
    ) as compute:
        for name, found in zip(files, compute.each(runner, jobs(), advance), strict=True):
            yield name, _outcome(found)
    shutil.rmtree(outcomes.root, ignore_errors=True)


def _outcome(found: MemberFiles) -> RunOutcome:
    told: JsonObject = json.loads(found[OUTCOME])
    kind = getattr(errors, str(told["error"]), StarALError) if told["error"] else None
    return RunOutcome(float(str(told["seconds"])), kind(told["message"]) if kind else None)


# -- on a worker ----------------------------------------------------------------------------------------


def open_on_worker(order: Order) -> Opened:
    """Open what runs campaigns; a worker with another version of star_al has another key."""
    from star_al.models.devices import use_threads

    use_threads(order.threads)
    return Opened(Runner(Path(order.file), Path(str(order.options["shared"]))), __version__)


class Runner:
    """Implements ``RunsCampaigns``.

    Args:
        path: The study's campaign file, whose folder has the data.
        shared: The folder in which runs share what they can.
    """

    def __init__(self, path: Path, shared: Path) -> None:
        self._path, self._shared = path, shared

    def run_campaign(self, settings: JsonObject, advance: Advance) -> MemberFiles:
        """Run a campaign; an error that ends it is part of the outcome."""
        began = time.monotonic()
        spec = CampaignSpec.model_validate(settings)
        file = CampaignFile(path=self._path, spec=spec, shared_trunk=self._shared / "trunk")
        error: StarALError | None = None
        try:
            _run(file, _Lines(advance))
        except StarALError as exc:
            error = exc
        told = {
            "seconds": time.monotonic() - began,
            "error": type(error).__name__ if error else None,
            "message": str(error),
        }
        return {OUTCOME: json.dumps(told).encode()}


def _run(file: CampaignFile, progress: Progress) -> None:
    """Run a campaign; one that a lost worker of another machine still holds is waited for until its lease ends."""
    until = time.monotonic() + 2 * file.spec.database.lease_seconds
    while True:
        try:
            running.run(file, progress)
            return
        except LeaseHeldError:
            if time.monotonic() >= until:
                raise
            time.sleep(LEASE_PAUSE)


class _Lines:
    """A progress display that counts the lines it is told: the study's own process reads the database then."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def say(self, message: str) -> None:
        """Count a line."""
        self._advance(1)

    def task(self, description: str, total: int | None) -> AbstractContextManager[Advance]:
        """Show nothing."""
        return nullcontext(ignore)

    def waiting(self, message: str | None) -> None:
        """Do nothing: runs of a study never wait for people."""
