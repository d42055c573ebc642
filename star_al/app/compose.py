"""The composition root: names in a config become concrete classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from star_al.artefacts.folder import ArtefactFolder
from star_al.config.changes import refuse_removed_settings
from star_al.config.spec import CampaignFile, CampaignSpec, PosteriorSpec
from star_al.errors import ConfigError, StoreError
from star_al.parts import Parts
from star_al.ports import Learner, Progress, Store
from star_al.task import ClosedTask
from star_al.types import Campaign, Round

if TYPE_CHECKING:
    from star_al.models.posterior import Method


def open_store(file: CampaignFile, *, create: bool = False) -> Store:
    """The campaign's database; ``create`` makes the schema in one that is new or empty.

    Raises:
        StoreError: it cannot be reached, or is at another schema version.
    """
    from db import migrate
    from db.store import SqlStore

    if create and migrate.is_empty(file.database_url):
        migrate.upgrade(file.database_url)
    return SqlStore.open(file.database_url)


def open_learner(file: CampaignFile, spec: CampaignSpec, rounds: list[Round], progress: Progress) -> Learner:
    """The model of ``spec`` with its adapter and posterior, on the device that the file names.

    A campaign keeps the dtype that its first round ran in, so that a resumed one does not depend on a probe.

    Raises:
        ConfigError: the adapters of ``rounds`` need a setting that this version no longer has.
    """
    refuse_removed_settings(rounds)
    from star_al.models.learner import LoraLearner

    here = file.spec.model.model_dump(include={"device", "batch_tokens", "trunk_cache_gb"})
    dtypes = [round_.versions["dtype"] for round_ in rounds if "dtype" in round_.versions]
    if dtypes and spec.model.dtype == "auto":
        here["dtype"] = str(dtypes[0])
    spec = spec.model_copy(update={"model": spec.model.model_copy(update=here)})
    method = posterior_method(spec.posterior)
    return LoraLearner(
        ClosedTask(spec.task),
        spec,
        model_path(file, spec.model.name),
        method,
        cache=file.trunk_folder,
        say=progress.say,
    )


def posterior_method(spec: PosteriorSpec) -> Method:
    """The method of a kind."""
    from star_al.models.posterior.clora import CLora
    from star_al.models.posterior.ensemble import Ensemble
    from star_al.models.posterior.laplace import Laplace
    from star_al.models.posterior.mc_dropout import McDropout
    from star_al.models.posterior.point import Map
    from star_al.models.posterior.tfb import Tfb

    methods: dict[str, Callable[[Any], Method]] = {
        "clora": CLora,
        "ensemble": Ensemble,
        "laplace": Laplace,
        "map": lambda _: Map(),
        "mc_dropout": lambda _: McDropout(),
        "tfb": Tfb,
    }
    return methods[spec.kind](spec)


def model_path(file: CampaignFile, name: str) -> str:
    """The model's folder where there is one, relative to the campaign file; else its hub name."""
    folder = file.resolve(name)
    if folder.exists():
        return str(folder)
    if name.startswith((".", "/", "~")):
        raise ConfigError(f"{file.path}: model.name: there is no folder {folder}.")
    return name


def find_campaign(file: CampaignFile, store: Store) -> Campaign:
    """The campaign of this file.

    Raises:
        StoreError: it has not been started.
    """
    campaign = store.find_campaign(file.spec.name)
    if campaign is None:
        raise _not_started(file)
    return campaign


def find_started(file: CampaignFile) -> Campaign | None:
    """The campaign of this file; null when it has not been started.

    Raises:
        StoreError: the database cannot be read.
    """
    from db import migrate

    if migrate.is_empty(file.database_url):
        return None
    store = open_store(file)
    try:
        return store.find_campaign(file.spec.name)
    finally:
        store.close()


def _not_started(file: CampaignFile) -> StoreError:
    return StoreError(
        f"campaign {file.spec.name!r} has not been started; `star-al run {file.path.name}` does."
    )


@contextmanager
def reading(file: CampaignFile) -> Iterator[tuple[Store, Campaign]]:
    """Store and campaign for commands that only look.

    Raises:
        StoreError: the campaign has not been started, or the database cannot be read.
    """
    with open_started(file) as store:
        yield store, find_campaign(file, store)


@contextmanager
def open_started(file: CampaignFile) -> Iterator[Store]:
    """The campaign's database, which holds something.

    Raises:
        StoreError: nothing has been started in it, or it cannot be read.
    """
    from db import migrate

    if migrate.is_empty(file.database_url):
        raise _not_started(file)
    store = open_store(file)
    try:
        yield store
    finally:
        store.close()


def open_parts(
    file: CampaignFile,
    store: Store,
    campaign: Campaign,
    progress: Progress,
    spec: CampaignSpec | None = None,
) -> Parts:
    """The parts of a campaign, to read it under ``spec``; under the settings stored with it if that is None."""
    spec = spec or CampaignSpec.model_validate(campaign.config)
    return Parts(
        campaign=campaign,
        spec=spec,
        store=store,
        learner=open_learner(file, spec, store.rounds(campaign.campaign_id), progress),
        artefacts=ArtefactFolder(file.artefact_folder),
        progress=progress,
    )
