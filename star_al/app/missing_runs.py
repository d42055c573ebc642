"""Work through the missing runs of a study: in processes of this machine, or on the workers of a cluster."""

from __future__ import annotations

import math
import os
import shutil
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import psutil

from star_al.app import running
from star_al.app.study_on_cluster import cluster_for_runs, run_on_cluster
from star_al.app.study_progress import StudyProgress
from star_al.app.worker_processes import MessageKind, ProgressRelay, WorkerProcesses
from star_al.common.wording import count
from star_al.config.spec import CampaignFile, CampaignSpec, RayComputeSpec
from star_al.errors import StarALError
from star_al.ports import Progress, Store
from star_al.stats.ranking_model import has_ended, rows_by_ranker
from star_al.types import Study, StudyRun

MEMORY_FACTOR = 1.5
"""Memory of a run as a multiple of the preparation's, which does not train."""


@dataclass(frozen=True)
class FailedRun:
    """A run that failed, and why."""

    run: StudyRun
    error: StarALError


class MissingRuns:
    """The runs of a study that are not finished.

    Args:
        study: The study.
        files: The campaign file of each of its runs.
        seeds: Runs of each strategy.
        jobs: How many runs may go on at once; None for as many as fit.
        keep: Keep the adapters and scores of finished runs.
        store: The study's database.
        progress: Where the user is told what happens.
    """

    def __init__(
        self,
        study: Study,
        files: dict[StudyRun, CampaignFile],
        *,
        seeds: int,
        jobs: int | None,
        keep: bool,
        store: Store,
        progress: Progress,
    ) -> None:
        self._study, self._files, self._seeds, self._wanted, self._keep = study, files, seeds, jobs, keep
        self._store, self._progress = store, progress

    def work(self) -> list[FailedRun]:
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
        threads = self._threads(jobs)
        where = " on the cluster's workers" if self._whole_runs else ""
        how = f"{jobs} at a time{where} with {count(threads, 'thread')} each"
        self._progress.say(f"{count(len(missing), 'run')} to do, {how}")
        if self._whole_runs is not None:
            return self._run_on_cluster(self._whole_runs, missing, prepared.dtype, jobs)
        return self._run_all(missing, prepared.dtype, jobs, threads)

    @property
    def _any_file(self) -> CampaignFile:
        """A campaign file; those of all runs have the same database, compute and shared folders."""
        return next(iter(self._files.values()))

    @cached_property
    def _whole_runs(self) -> RayComputeSpec | None:
        """The cluster whose workers run campaigns as a whole; None if the runs are this machine's."""
        return cluster_for_runs(self._any_file)

    def _jobs(self, fitting: int) -> int:
        """How many runs go on at once; if each has all workers of a cluster, one unless more are asked for."""
        if self._whole_runs is not None:
            fitting = self._whole_runs.workers
        elif isinstance(self._any_file.spec.compute, RayComputeSpec):
            fitting = 1
        return min(self._wanted or fitting, len(self._study.runs))

    def _threads(self, jobs: int) -> int:
        """Threads of a run; by all runs, not the missing ones: the thread count may change the last digits."""
        return _threads(jobs) if self._whole_runs is None else self._whole_runs.threads

    def _prepare(self, first: StudyRun) -> _Prepared:
        """Compute what the runs share, in a process of its own and in the first run's campaign."""
        file = _in_dtype(self._files[first], self._dtype_so_far())
        # With a run's number of threads: cached activations are only shared between equal thread counts.
        threads = self._threads(self._jobs(_cores()))
        with WorkerProcesses(threads) as workers, ProgressRelay(self._progress) as relay:
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
                needed = max(needed, texts * self._seeds * _planned_rounds(file.spec))
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
                    elif not self._keep:
                        shutil.rmtree(self._files[run].artefact_folder, ignore_errors=True)
        return failed

    def _run_on_cluster(
        self, cluster: RayComputeSpec, missing: Sequence[StudyRun], dtype: str, jobs: int
    ) -> list[FailedRun]:
        runs = {run.campaign: run for run in missing}
        files = {name: _in_dtype(self._files[run], dtype) for name, run in runs.items()}
        failed, out = list[FailedRun](), dict[str, StudyRun]()
        with StudyProgress(self._store, self._progress, self._study.name, jobs) as display:
            display.start({run: _planned_rounds(self._files[run].spec) for run in missing})

            def begun(name: str) -> None:
                out[name] = runs[name]
                display.start_run(runs[name])

            def advance(_: int) -> None:
                for run in out.values():
                    display.update_run(run)

            cluster = cluster.model_copy(update={"workers": jobs})
            shared = self._any_file.trunk_folder.parent
            for name, outcome in run_on_cluster(cluster, files, shared, self._progress, begun, advance):
                run = out.pop(name)
                display.end_run(run, outcome.seconds, outcome.error)
                if outcome.error is not None:
                    failed.append(FailedRun(run, outcome.error))
                elif not self._keep:
                    shutil.rmtree(files[name].artefact_folder, ignore_errors=True)
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
