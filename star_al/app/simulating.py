"""Simulate campaigns on labelled data, one for each strategy and seed, through the ordinary loop.

Each run is a campaign of its own in the same database, in a process of its own. What runs share (data set,
base predictions, activations of frozen blocks) is computed once. An interrupted study resumes where it
stopped, down to the step within a run.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from star_al.app.missing_runs import FailedRun, MissingRuns
from star_al.app.stores import open_if_started, open_started, open_store, unknown_study
from star_al.app.strategies import run_file, run_of, study_spec, with_posteriors
from star_al.config.changes import (
    differing_fields,
    has_earlier_defaults,
    keep_earlier_defaults,
    list_differences,
)
from star_al.config.spec import CampaignFile
from star_al.data import data_source, test_source
from star_al.errors import ConfigError, StoreError
from star_al.ports import Progress, Store
from star_al.stats.learning_curves import Comparison
from star_al.stats.study_runs import study_results
from star_al.types import Study

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
            missing = MissingRuns(
                study,
                files,
                seeds=request.seeds,
                jobs=request.jobs,
                keep=request.keep,
                store=store,
                progress=progress,
            )
            failed = missing.work()
            if not request.keep and not failed:
                _remove_scratch(folder, files.values())
        return SimulationResult(study_results(store, store.study(study.name) or study), tuple(failed))
    finally:
        store.close()


def _remove_scratch(folder: Path, files: Iterable[CampaignFile]) -> None:
    """Delete the files that only a running study needs, and the folder if nothing else is in it."""
    scratch = {
        path for each in files for path in (each.trunk_folder, each.feature_folder, each.artefact_folder)
    }
    for path in scratch:
        shutil.rmtree(path, ignore_errors=True)
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
