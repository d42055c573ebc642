"""Simulate campaigns on labelled data, one for each strategy and seed, through the ordinary loop.

Each run is a campaign of its own in the same database, in a process of its own. What runs share (data set,
base predictions, activations of frozen blocks) is computed once. An interrupted study resumes where it
stopped, down to the step within a run.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from star_al.app import running
from star_al.app.stores import open_if_started, open_started, open_store, unknown_study
from star_al.app.strategies import run_file, run_of, study_spec, with_posteriors
from star_al.app.study_progress import StudyProgress
from star_al.app.worker_processes import MessageKind, ProgressRelay, WorkerProcesses
from star_al.common.wording import count
from star_al.config.changes import (
    differing_fields,
    has_earlier_defaults,
    keep_earlier_defaults,
    list_differences,
)
from star_al.config.spec import CampaignFile, CampaignSpec, RayComputeSpec
from star_al.data import data_source, test_source
from star_al.errors import ConfigError, StarALError, StoreError
from star_al.ports import Progress, Store
from star_al.stats.learning_curves import Comparison
from star_al.stats.ranking_model import has_ended, rows_by_ranker
from star_al.stats.study_runs import study_results
from star_al.types import Study, StudyRun

FREE_TO_CHANGE = frozenset(
    {
        "name",
        "database",
        "artefacts",
        "compute",
        "model.device",
        "model.gpus",
        "model.batch_tokens",
        "model.trunk_cache_gb",
    }
)
"""Settings that may differ between two calls for the same study."""

MEMORY_FACTOR = 1.5
"""Memory of a run as a multiple of the preparation's, which does not train."""


@dataclass(frozen=True)
class SimulationRequest:
    """What to simulate.

    Attributes:
        strategies: Names of strategies, each optionally with its posterior: ``entropy@laplace``.
        seeds: Number of runs of each strategy, with seeds 0 to ``seeds`` - 1.
        posteriors: Run every strategy with each of these; empty for the campaign's own.
        study: Name of the study; ``None`` for the campaign's name.
        gold: Column of correct answers, in place of the campaign's annotator.
        rounds: Trained rounds, in place of ``stopping.max_rounds``.
        jobs: Number of processes; ``None`` for as many as cores and memory allow.
        keep: Keep the adapters and scores of finished runs.
    """

    strategies: Sequence[str]
    seeds: int
    posteriors: Sequence[str] = ()
    study: str | None = None
    gold: str | None = None
    rounds: int | None = None
    jobs: int | None = None
    keep: bool = False


@dataclass(frozen=True)
class FailedRun:
    """A run that failed, and why."""

    run: StudyRun
    error: StarALError


@dataclass(frozen=True)
class SimulationResult:
    """The comparison over the whole study, and the runs of this call that failed."""

    comparison: Comparison
    failed: tuple[FailedRun, ...]


def simulate(file: CampaignFile, request: SimulationRequest, progress: Progress) -> SimulationResult:
    """Run the missing runs of a study and compare its strategies.

    Raises:
        StarALError: The study could not be run at all. A single run that fails is in the result.
    """
    name = _study_name(file, request)
    begun = _begun(file, name)
    if begun is not None:
        file = keep_earlier_defaults(file, begun.config)
    file = file.model_copy(update={"spec": study_spec(file, gold=request.gold, rounds=request.rounds)})
    study = _study(file, name, request)
    folder = file.resolve(f"{study.name}-study")
    earlier = begun is not None and has_earlier_defaults(begun.config)
    files = {run: run_file(file, run, folder, earlier=earlier) for run in study.runs}
    data_source(file)  # a missing file is reported before anything is created
    test_source(file)
    store = open_store(file, create=True)
    try:
        _refuse_changes(file, store, study)
        with _locked(folder, study.name):
            failed = _Simulation(files, request, study, folder, store, progress).run()
            if not request.keep and not failed:
                _remove_scratch(folder, files.values())
        return SimulationResult(study_results(store, store.study(study.name) or study), tuple(failed))
    finally:
        store.close()


def _remove_scratch(folder: Path, files: Iterable[CampaignFile]) -> None:
    """Delete the files that only a running study needs, and the folder if nothing else is in it."""
    for scratch in (folder / "trunk", folder / "features", *(each.artefact_folder for each in files)):
        shutil.rmtree(scratch, ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        folder.rmdir()


def results(file: CampaignFile, name: str | None = None) -> Comparison:
    """Compare the strategies of a study as it stands, by default of the study with the campaign's name.

    Raises:
        StoreError: There is no such study, or the database cannot be read.
    """
    name = name or file.spec.name
    with open_started(file) as store:
        study = store.study(name)
        if study is None:
            raise unknown_study(file, name)
        return study_results(store, study)


def _begun(file: CampaignFile, name: str) -> Study | None:
    """The study of this name in the database; None if there is none yet."""
    with open_if_started(file) as store:
        return None if store is None else store.study(name)


def _study_name(file: CampaignFile, request: SimulationRequest) -> str:
    """The name of the study, by default that of the campaign."""
    name = request.study or file.spec.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ConfigError(
            f"--study {name}: a name may contain only letters, digits, '_', '.' and '-', and must begin with a letter "
            "or digit."
        )
    return name


def _study(file: CampaignFile, name: str, request: SimulationRequest) -> Study:
    """List the requested runs seed by seed, so that all strategies progress alike."""
    strategies = with_posteriors(request.strategies, request.posteriors)
    runs = [run_of(name, strategy, seed) for seed in range(request.seeds) for strategy in strategies]
    return Study(name, file.spec.model_dump(mode="json"), tuple(runs))


def _refuse_changes(file: CampaignFile, store: Store, study: Study) -> None:
    stored = store.study(study.name)
    if stored is None:
        return
    changed = differing_fields(stored.config, file.spec, FREE_TO_CHANGE)
    if changed:
        raise ConfigError(
            f"{file.path}: study {study.name!r} was started with different settings for {', '.join(changed)}. "
            "Change them back, or choose another name with --study.\n"
            + list_differences(stored.config, file.spec, changed)
        )


@contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    """Keep other processes from running this study."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as exc:
        raise StoreError(f"study {name!r} is being run by another process. Wait until it ends.") from exc
    except OSError as exc:
        raise StoreError(
            f"{folder}: cannot be written ({exc.strerror or exc}). Check its permissions and the disk."
        ) from exc
    try:
        yield
    finally:
        lock.release()


class _Simulation:
    """The work of one call on a study."""

    def __init__(
        self,
        files: dict[StudyRun, CampaignFile],
        request: SimulationRequest,
        study: Study,
        folder: Path,
        store: Store,
        progress: Progress,
    ) -> None:
        self._files, self._request, self._study, self._folder = files, request, study, folder
        self._store, self._progress = store, progress

    def run(self) -> list[FailedRun]:
        """Run the missing runs; return those that failed."""
        missing = [run for run in self._study.runs if not self._is_finished(run)]
        n, done = len(self._study.runs), len(self._study.runs) - len(missing)
        before = f", {done} already finished" if done else ""
        self._progress.say(f"Study {self._study.name}: {count(n, 'run')}{before}")
        prepared = self._prepare(missing[0]) if missing else None
        self._store.save_study(self._study)
        if prepared is None:
            return []
        jobs = self._jobs(prepared.jobs())
        threads = _threads(
            jobs
        )  # by all runs, not the missing ones: the thread count may change the last digits
        how = f"{jobs} at a time with {count(threads, 'thread')} each"
        self._progress.say(f"{count(len(missing), 'run')} to do, {how}")
        return self._run_all(missing, prepared.dtype, jobs, threads)

    def _jobs(self, fitting: int) -> int:
        """How many runs go on at once; on a cluster, where each has all workers, one unless more are asked for."""
        on_cluster = any(isinstance(file.spec.compute, RayComputeSpec) for file in self._files.values())
        return min(self._request.jobs or (1 if on_cluster else fitting), len(self._study.runs))

    def _prepare(self, first: StudyRun) -> _Prepared:
        """Compute what the runs share, in a process of its own and in the first run's campaign."""
        file = _in_dtype(self._files[first], self._dtype_so_far())
        # With a run's number of threads: cached activations are only shared between equal thread counts.
        jobs = self._jobs(_cores())
        with WorkerProcesses(_threads(jobs)) as workers, ProgressRelay(self._progress) as relay:
            workers.start(first, _prepare_first, file, self._texts_to_score())
            while (message := workers.receive()).kind is not MessageKind.PROCESS_ENDED:
                relay.show(message)
        if message.content.error is not None:
            raise message.content.error
        prepared: _Prepared = message.content.value
        return prepared

    def _dtype_so_far(self) -> str | None:
        """Return the dtype of the runs so far, since another probe might choose differently."""
        for run in self._study.runs:
            campaign = self._store.find_campaign(run.campaign)
            if campaign is not None:
                return CampaignSpec.model_validate(campaign.config).model.dtype
        return None

    def _texts_to_score(self) -> float:
        """Return an upper limit of pool texts that need base predictions; seeds score different texts."""
        needed = 0.0
        for file in self._files.values():
            acquisition = file.spec.acquisition
            if acquisition.blend.kind != "off" or acquisition.cold_start == "base_uncertainty":
                texts = acquisition.candidates or math.inf
                needed = max(needed, texts * self._request.seeds * _planned_rounds(file.spec))
        return needed

    def _run_all(self, missing: Sequence[StudyRun], dtype: str, jobs: int, threads: int) -> list[FailedRun]:
        queue, failed = deque(missing), []
        display = StudyProgress(self._store, self._progress, self._study.name, jobs)
        with WorkerProcesses(threads) as workers, display:
            display.start({run: _planned_rounds(self._files[run].spec) for run in missing})
            while queue or len(workers):
                while queue and len(workers) < jobs:
                    run = queue.popleft()
                    workers.start(run, _run_campaign, _in_dtype(self._files[run], dtype))
                    display.start_run(run)
                run, kind, content = workers.receive()
                if kind is MessageKind.LINE:
                    display.update_run(run)
                elif kind is MessageKind.PROCESS_ENDED:
                    display.end_run(run, content.seconds, content.error)
                    if content.error is not None:
                        failed.append(FailedRun(run, content.error))
                    elif not self._request.keep:
                        shutil.rmtree(self._files[run].artefact_folder, ignore_errors=True)
        return failed

    def _is_finished(self, run: StudyRun) -> bool:
        campaign = self._store.find_campaign(run.campaign)
        rounds = [] if campaign is None else self._store.history(campaign.campaign_id)
        model = self._files[run].spec.ranking_model
        return has_ended(rows_by_ranker(rounds, model), model)


def _planned_rounds(spec: CampaignSpec) -> int:
    """Return how many rounds a run will have, including round 0, unless the pool runs out first."""
    limits = []
    if spec.stopping.max_rounds is not None:
        limits.append(spec.stopping.max_rounds)
    if spec.stopping.max_labels is not None:
        trained_on = spec.stopping.max_labels - spec.evaluation.calibration - spec.evaluation.reserved
        limits.append(math.ceil(max(trained_on, 1) / spec.acquisition.batch_size))
    return 1 + min(limits)


def _in_dtype(file: CampaignFile, dtype: str | None) -> CampaignFile:
    """Replace the dtype ``auto`` by the given one."""
    if dtype is None or file.spec.model.dtype != "auto":
        return file
    model = file.spec.model.model_copy(update={"dtype": dtype})
    return file.model_copy(update={"spec": file.spec.model_copy(update={"model": model})})


def _threads(jobs: int) -> int:
    """Return the threads for each of ``jobs`` processes."""
    return max(1, _cores() // jobs)


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# -- in worker processes --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Prepared:
    """What the preparation found out; ``peak_bytes`` is the memory that it took."""

    dtype: str
    device: str
    peak_bytes: int

    def jobs(self) -> int:
        """Return how many processes to run at once: one per core if memory allows, one on an accelerator."""
        if self.device != "cpu":
            return 1
        fit = int(psutil.virtual_memory().available / (MEMORY_FACTOR * self.peak_bytes))
        return max(1, min(_cores(), fit))


def _prepare_first(file: CampaignFile, scored: float, progress: Progress) -> _Prepared:
    file = _in_dtype(file, running.resolved_dtype(file, progress))
    versions = running.prepare(file, progress, largest_pool=scored)
    return _Prepared(file.spec.model.dtype, str(versions["device"]), _peak_bytes())


def _peak_bytes() -> int:
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _run_campaign(file: CampaignFile, progress: Progress) -> None:
    running.run(file, progress)
