"""Open the database that a campaign file names, and find the campaign in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from star_al.common.patience import Patience
from star_al.config.spec import CampaignFile
from star_al.errors import StoreError
from star_al.ports import Store
from star_al.types import Campaign


def open_store(file: CampaignFile, *, create: bool = False, patience: Patience | None = None) -> Store:
    """Open the campaign's database.

    Args:
        file: The campaign file.
        create: Make the schema if the database is new or empty.
        patience: How long the database is waited for once it was reached; None waits briefly.

    Raises:
        StoreError: It cannot be reached, or is at another schema version.
    """
    from db import migrate
    from db.store import SqlStore

    if create and migrate.is_empty(file.database_url):
        migrate.upgrade(file.database_url)
    return SqlStore.open(file.database_url, patience)


def find_campaign(file: CampaignFile, store: Store) -> Campaign:
    """The campaign of this file.

    Raises:
        StoreError: It has not been started.
    """
    campaign = store.find_campaign(file.spec.name)
    if campaign is None:
        raise _not_started(file)
    return campaign


def find_started(file: CampaignFile) -> Campaign | None:
    """The campaign of this file; None if it has not been started.

    Raises:
        StoreError: The database cannot be read.
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
        f"campaign {file.spec.name!r} has not been started. Run `star-al run {file.path.name}` to start it."
    )


def unknown_study(file: CampaignFile, name: str) -> StoreError:
    """The error for a study that does not exist; it says how to create it."""
    return StoreError(
        f"there is no study {name!r}. Run `star-al simulate {file.path.name} --study {name}` to create it."
    )


@contextmanager
def reading(file: CampaignFile) -> Iterator[tuple[Store, Campaign]]:
    """Open store and campaign for a command that only reads.

    Raises:
        StoreError: The campaign has not been started, or the database cannot be read.
    """
    with open_started(file) as store:
        yield store, find_campaign(file, store)


@contextmanager
def open_started(file: CampaignFile) -> Iterator[Store]:
    """Open the campaign's database, which must not be empty.

    Raises:
        StoreError: No campaign has been started in it, or it cannot be read.
    """
    with open_if_started(file) as store:
        if store is None:
            raise _not_started(file)
        yield store


@contextmanager
def open_if_started(file: CampaignFile) -> Iterator[Store | None]:
    """Open the campaign's database; None if it is empty or not there.

    Raises:
        StoreError: It cannot be read.
    """
    from db import migrate

    if migrate.is_empty(file.database_url):
        yield None
        return
    store = open_store(file)
    try:
        yield store
    finally:
        store.close()
