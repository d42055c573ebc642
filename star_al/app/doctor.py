"""Check the installation and what a campaign needs. Each problem is a finding; none ends the examination."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

from star_al.app.annotators import connection, examine_project, unencrypted
from star_al.app.compose import open_artefacts
from star_al.app.computing import check_cluster
from star_al.app.doctor_models import check_encoder, check_model, check_training
from star_al.app.shortlist_size import size_in_words
from star_al.app.stores import find_started
from star_al.common.wording import count
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile, LabelStudioSpec, RayComputeSpec
from star_al.data import ImportCounts, data_source, read_items, test_source
from star_al.errors import (
    AnnotatorError,
    ClusterError,
    ConfigError,
    DataError,
    ModelError,
    SchemaError,
    StarALError,
    StoreError,
)
from star_al.task import make_task

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "sentence-transformers",
    "sqlalchemy",
    "alembic",
    "datasets",
    "pyarrow",
    "numpy",
    "matplotlib",
    "label-studio-sdk",
    "crowd-kit",
)
OPTIONAL_PACKAGES = ("psycopg", "openpyxl")  # Postgres, Excel files

ROWS_READ = 100
"""Rows of the data that are read here; a run reads all of them."""

LEAST_FREE_BYTES = 500_000_000
"""What adapters and scores of a small campaign need; with less, the disk counts as full."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Finding:
    """The result of one check. ``exit_code`` is 0 if it passed, else that of the error."""

    name: str
    ok: bool
    detail: str
    exit_code: int = 0


def examine(
    config: Path | None, settings: Sequence[str] = (), say: Say = lambda _: None
) -> Iterator[Finding]:
    """Check the installation and, with a campaign file, what that campaign needs; raises nothing.

    Args:
        config: The campaign file.
        settings: ``NAME=VALUE`` each, in place of what the file says.
        say: Called with a line before a check that may take minutes.
    """
    yield _look("python", lambda: f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield _look("packages", _packages)
    files: list[CampaignFile] = []
    if config is not None:
        yield _look("config", lambda: _config(config, settings, files), ConfigError)
    file = files[0] if files else None
    yield _look("device", lambda: _device(file))
    if file is None:
        yield _look("disk", lambda: _free_space(Path.cwd()))
        return
    yield _look("data", lambda: _data(file), DataError)
    if file.spec.acquisition.shortlist.is_on:
        yield Finding("shortlist", True, size_in_words(file.spec))
    yield from _models(file, say)
    yield _look("database", lambda: _database(file))
    yield _look("artefacts", lambda: _artefacts(file))
    yield _look("disk", lambda: _free_space(file.artefact_folder))
    if isinstance(compute := file.spec.compute, RayComputeSpec):
        yield _look("cluster", lambda: check_cluster(file, compute), ClusterError)
    if isinstance(file.spec.annotator, LabelStudioSpec):
        yield from _label_studio(file, file.spec.annotator)


def _models(file: CampaignFile, say: Say) -> Iterator[Finding]:
    """Check the language model and the sentence encoder, as far as the campaign has them."""
    if file.spec.model.name is not None:
        finding = _look("model", lambda: check_model(file), ModelError)
        yield finding
        if finding.ok and not file.spec.has_head_learner:
            say("Trying one training step and one sample")
            yield _look("training", lambda: check_training(file), ModelError)
    if file.spec.has_head_learner or file.spec.has_head_beside:
        say("Trying the sentence encoder")
        yield _look("encoder", lambda: check_encoder(file), ModelError)


def _look(name: str, check: Callable[[], str], failure: type[StarALError] = StoreError) -> Finding:
    """Run one check. ``failure`` is the kind of error to report if a path cannot be accessed."""
    try:
        return Finding(name, True, check())
    except StarALError as exc:
        return Finding(name, False, str(exc), exc.exit_code)
    except OSError as exc:
        where = f"{exc.filename}: " if exc.filename else ""
        reason = exc.strerror or str(exc)
        detail = f"{where}cannot be accessed ({reason}). Check the path and its permissions."
        return Finding(name, False, detail, failure.exit_code)
    except Exception as exc:  # an unexpected error is a finding as well
        return Finding(name, False, f"unexpected {type(exc).__name__}: {exc}", StarALError.exit_code)


def _packages() -> str:
    found: dict[str, str] = {}
    for name in (*PACKAGES, *OPTIONAL_PACKAGES):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError as exc:
            if name in PACKAGES:
                raise StarALError(f"{name} is not installed. Run: pip install star-al") from exc
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _config(path: Path, settings: Sequence[str], files: list[CampaignFile]) -> str:
    files.append(load_campaign(path, settings))
    return f"{path}: campaign {files[0].spec.name!r}, {files[0].spec.task.kind}"


def _device(file: CampaignFile | None) -> str:
    import psutil

    from star_al.models.backbone import Backbone
    from star_al.models.devices import resolve_device, resolve_dtype, slowness_of

    device = resolve_device(file.spec.model.device if file else "auto")
    asked = file.spec.model.dtype if file else "auto"
    start = time.perf_counter()
    dtype = resolve_dtype(asked, device)
    how = (
        f"chosen by a speed test in {time.perf_counter() - start:.2f} s"
        if asked == "auto"
        else "as configured"
    )
    found = Backbone(Path(), dtype, device).versions()
    if (slowness := slowness_of(dtype, device.type)) > 1:
        how += f", which takes {slowness:.0f} times as long as float32 here"
    free_gb = psutil.virtual_memory().available / 1e9
    threads = count(cast("int", found["threads"]), "thread")
    place = f"{found['device']}, {threads}, {free_gb:.1f} GB of memory free"
    return f"{place}; dtype {dtype}, {how}"


def _data(file: CampaignFile) -> str:
    read = []
    for source in (data_source(file), test_source(file)):
        if source is not None:
            items = read_items(source, make_task(file.spec.task), ImportCounts())
            n = sum(1 for _ in islice(items, ROWS_READ))
            read.append(f"{source.table.name}: read the first {count(n, 'text')} without an error")
    return "; ".join(read)


def _database(file: CampaignFile) -> str:
    from db import migrate
    from db.engine import location, parse_url, sqlite_file

    url = file.database_url
    where = location(parse_url(url))
    if migrate.is_empty(url):
        path = sqlite_file(parse_url(url))
        if path is not None:
            _try_to_write(path.parent)
        return f"{where}: new; `star-al run` creates its tables"
    report = migrate.check(url)
    if report.up_to_date:
        return f"{where}: schema version {report.current}, as required"
    state = f"is at version {report.current or 'none'}, but {report.head} is required"
    if report.current == report.head:
        state = f"is at version {report.current}, but its tables differ from that version"
    raise SchemaError(f"{where}: the schema {state}. Run `star-al db check` for details.")


def _artefacts(file: CampaignFile) -> str:
    _try_to_write(file.artefact_folder)
    artefacts = open_artefacts(file)
    if artefacts.shared is not None:
        artefacts.shared.try_to_write()
    return f"{artefacts.place}: writable"


def _label_studio(file: CampaignFile, spec: LabelStudioSpec) -> Iterator[Finding]:
    """Check the server and, if it answers, the token and the campaign's project."""
    from star_al.annotators.label_studio.client import ServerReport, examine

    reports: list[ServerReport] = []

    def server() -> str:
        reports.append(examine(connection(spec)))
        warning = unencrypted(spec)
        return f"{reports[0].url}: Label Studio {reports[0].version}" + (f" ({warning})" if warning else "")

    yield _look("server", server, AnnotatorError)
    for report in reports:
        kind = "personal access token" if report.token == "personal" else "legacy token"
        yield Finding("token", True, f"a {kind} of {report.user}")
        yield _look("project", lambda: examine_project(file, spec, find_started(file)), AnnotatorError)


def _try_to_write(folder: Path) -> None:
    """Write a file into the folder, or into its nearest parent that exists, and delete it again."""
    place = _existing(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=place) as probe:
            probe.write(b"star_al")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as exc:
        raise StoreError(
            f"{place}: not writable ({exc.strerror or exc}). Check its permissions and the disk."
        ) from exc


def _free_space(folder: Path) -> str:
    place = _existing(folder)
    free = shutil.disk_usage(place).free
    if free < LEAST_FREE_BYTES:
        raise StoreError(f"{place}: only {free / 1e6:,.0f} MB are free. Make room for adapters and scores.")
    return f"{free / 1e9:,.1f} GB free in {place}"


def _existing(folder: Path) -> Path:
    return next((place for place in (folder, *folder.parents) if place.is_dir()), Path.cwd())
