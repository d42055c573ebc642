"""Simulate: many campaigns on one labelled data set, a strategy and a seed each, through the ordinary loop.

Every run is a campaign of its own in the same database, in a process of its own. What the runs share (data
set, base predictions, activations of frozen blocks) is made once. What is finished stays finished: called
again after whatever ended it, a study goes on with the runs, and within them the steps, that are missing.
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
from star_al.app.compose import open_started, open_store
from star_al.app.strategies import run_file, run_of, study_spec, with_posteriors
from star_al.app.study_progress import Board
from star_al.app.worker_processes import ENDED, SAID, Owner, Relay
from star_al.config.changes import differing_fields
from star_al.config.spec import CampaignFile, CampaignSpec
from star_al.data import data_source, test_source
from star_al.errors import ConfigError, StarALError, StoreError
from star_al.ports import Progress, Store
from star_al.stats.learning_curves import Comparison, study_results
from star_al.types import RoundState, Study, StudyRun

FREE_TO_CHANGE = frozenset(
    {"name", "database", "artefacts", "model.device", "model.batch_tokens", "model.trunk_cache_gb"}
)
"""What may differ between two calls for one study."""

MEMORY_FACTOR = 1.5
"""A run's memory as a multiple of its preparation's, which does not train."""


@dataclass(frozen=True)
class Wish:
    """What to simulate: every strategy, with every posterior if there are any. Seeds are 0 to ``seeds`` − 1.

    ``study`` null: the campaign's name. ``gold``, ``rounds``: in place of the campaign file's annotator and
    stopping.max_rounds. ``jobs`` null: as many processes as cores and memory allow. ``keep``: leave the files
    of finished runs.
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
    """A run that did not come to its end, and why."""

    run: StudyRun
    error: StarALError


@dataclass(frozen=True)
class Simulated:
    """A study after a call: all of it compared, and the runs of this call that failed."""

    comparison: Comparison
    failed: tuple[FailedRun, ...]


def simulate(file: CampaignFile, wish: Wish, progress: Progress) -> Simulated:
    """Run what is missing of a study, and compare its strategies.

    Raises:
        StarALError: nothing could be run. A run that fails is among ``Simulated.failed``.
    """
    file = file.model_copy(update={"spec": study_spec(file, gold=wish.gold, rounds=wish.rounds)})
    study = _study(file, wish)
    folder = file.resolve(f"{study.name}-study")
    files = {run: run_file(file, run, folder) for run in study.runs}
    data_source(file)  # what is not there is told of before anything is made
    test_source(file)
    store = open_store(file, create=True)
    try:
        _refuse_changes(file, store, study)
        with _alone(folder, study.name):
            failed = _Simulation(files, wish, study, folder, store, progress).run()
            if not wish.keep and not failed:
                _remove_scratch(folder, files.values())
        return Simulated(study_results(store, store.study(study.name) or study), tuple(failed))
    finally:
        store.close()


def _remove_scratch(folder: Path, files: Iterable[CampaignFile]) -> None:
    """What only a running study needs; whatever else lies in the folder stays."""
    for scratch in (folder / "trunk", *(each.artefact_folder for each in files)):
        shutil.rmtree(scratch, ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        folder.rmdir()


def results(file: CampaignFile, name: str | None = None) -> Comparison:
    """A study as it stands; null: the one that has the campaign's name.

    Raises:
        StoreError: there is no such study, or the database cannot be read.
    """
    name = name or file.spec.name
    with open_started(file) as store:
        study = store.study(name)
        if study is None:
            raise StoreError(f"there is no study {name!r}; `star-al simulate {file.path.name}` makes one.")
        return study_results(store, study)


def _study(file: CampaignFile, wish: Wish) -> Study:
    """The study with the runs that are wished for, seed by seed: what is there early is there of all strategies."""
    name = wish.study or file.spec.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ConfigError(f"--study {name}: a name has letters, digits, '_', '.' and '-' only.")
    strategies = with_posteriors(wish.strategies, wish.posteriors)
    runs = [run_of(name, strategy, seed) for seed in range(wish.seeds) for strategy in strategies]
    return Study(name, file.spec.model_dump(mode="json"), tuple(runs))


def _refuse_changes(file: CampaignFile, store: Store, study: Study) -> None:
    stored = store.study(study.name)
    changed = [] if stored is None else differing_fields(stored.config, file.spec, FREE_TO_CHANGE)
    if changed:
        raise ConfigError(
            f"{file.path}: the study {study.name!r} has been started with other settings; "
            f"changed: {', '.join(changed)}. Change them back, or give another name with --study."
        )


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Nobody else runs this study."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as exc:
        raise StoreError(f"the study {name!r} is being run by another process. Wait until it ends.") from exc
    except OSError as exc:
        raise StoreError(f"{folder}: cannot be written ({exc.strerror or exc}).") from exc
    try:
        yield
    finally:
        lock.release()


class _Simulation:
    """One call's work on a study."""

    def __init__(
        self,
        files: dict[StudyRun, CampaignFile],
        wish: Wish,
        study: Study,
        folder: Path,
        store: Store,
        progress: Progress,
    ) -> None:
        self._files, self._wish, self._study, self._folder = files, wish, study, folder
        self._store, self._progress = store, progress

    def run(self) -> list[FailedRun]:
        """Do what is missing; what failed of it."""
        missing = [run for run in self._study.runs if not self._is_finished(run)]
        n, done = len(self._study.runs), len(self._study.runs) - len(missing)
        before = f", {done} of them finished before" if done else ""
        self._progress.say(f"Study {self._study.name}: {_counted(n, 'run')}{before}")
        prepared = self._prepare(missing[0]) if missing else None
        self._store.save_study(self._study)
        if prepared is None:
            return []
        jobs = min(self._wish.jobs or prepared.jobs(), n)
        threads = _threads(jobs)  # not by what is missing: other threads may give other digits
        how = f"{jobs} at a time with {_counted(threads, 'thread')} each"
        self._progress.say(f"{_counted(len(missing), 'run')} to do, {how}")
        return self._run_all(missing, prepared.dtype, jobs, threads)

    def _prepare(self, first: StudyRun) -> _Prepared:
        """What the runs share, made by a process within the first run's campaign."""
        file = _in_dtype(self._files[first], self._dtype_so_far())
        # With the threads of a run: activations that other threads computed may differ, and are not shared.
        jobs = min(self._wish.jobs or _cores(), len(self._study.runs))
        with Owner(_threads(jobs)) as owner, Relay(self._progress) as relay:
            owner.start(first, _prepare_first, file, self._scored())
            while True:
                _, kind, content = owner.hear()
                if kind != ENDED:
                    relay.show(kind, content)
                elif content.error is not None:
                    raise content.error
                else:
                    prepared: _Prepared = content.value
                    return prepared

    def _dtype_so_far(self) -> str | None:
        """What the runs so far are in: a probe might choose otherwise the next time."""
        for run in self._study.runs:
            campaign = self._store.find_campaign(run.campaign)
            if campaign is not None:
                return CampaignSpec.model_validate(campaign.config).model.dtype
        return None

    def _scored(self) -> float:
        """How many texts the base model is needed for at most, held-out ones aside; seeds score different ones."""
        needed = 0.0
        for file in self._files.values():
            acquisition = file.spec.acquisition
            if acquisition.blend.kind != "off" or acquisition.cold_start == "base_uncertainty":
                texts = acquisition.candidates or math.inf
                needed = max(needed, texts * self._wish.seeds * _planned_rounds(file.spec))
        return needed

    def _run_all(self, missing: Sequence[StudyRun], dtype: str, jobs: int, threads: int) -> list[FailedRun]:
        waiting, failed = deque(missing), []
        with Owner(threads) as owner, Board(self._store, self._progress, self._study.name, jobs) as board:
            board.expect({run: _planned_rounds(self._files[run].spec) for run in missing})
            while waiting or len(owner):
                while waiting and len(owner) < jobs:
                    run = waiting.popleft()
                    owner.start(run, _run_campaign, _in_dtype(self._files[run], dtype))
                    board.started(run)
                run, kind, content = owner.hear()
                if kind == SAID:
                    board.moved(run)
                elif kind == ENDED:
                    board.ended(run, content.seconds, content.error)
                    if content.error is not None:
                        failed.append(FailedRun(run, content.error))
                    elif not self._wish.keep:
                        shutil.rmtree(self._files[run].artefact_folder, ignore_errors=True)
        return failed

    def _is_finished(self, run: StudyRun) -> bool:
        campaign = self._store.find_campaign(run.campaign)
        rounds = [] if campaign is None else self._store.history(campaign.campaign_id)
        return bool(rounds) and rounds[-1]["state"] == RoundState.STOPPED.value


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _planned_rounds(spec: CampaignSpec) -> int:
    """How many rounds a run will have, round 0 included, unless its pool ends before."""
    limits = []
    if spec.stopping.max_rounds is not None:
        limits.append(spec.stopping.max_rounds)
    if spec.stopping.max_labels is not None:
        trained_on = spec.stopping.max_labels - spec.evaluation.calibration - spec.evaluation.reserved
        limits.append(math.ceil(max(trained_on, 1) / spec.acquisition.batch_size))
    return 1 + min(limits)


def _in_dtype(file: CampaignFile, dtype: str | None) -> CampaignFile:
    """The file with ``auto`` replaced by a dtype."""
    if dtype is None or file.spec.model.dtype != "auto":
        return file
    model = file.spec.model.model_copy(update={"dtype": dtype})
    return file.model_copy(update={"spec": file.spec.model_copy(update={"model": model})})


def _threads(jobs: int) -> int:
    """Threads of one of ``jobs`` processes."""
    return max(1, _cores() // jobs)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# -- in processes of their own --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Prepared:
    """What the first preparation found out. ``peak_bytes``: the memory it took."""

    dtype: str
    device: str
    peak_bytes: int

    def jobs(self) -> int:
        """Processes at a time: one a core, as far as memory goes; one on an accelerator."""
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
