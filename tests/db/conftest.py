"""Databases on SQLite and Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.store import SqlStore
from support.databases import KINDS, empty_url, migrated_url


@pytest.fixture(params=KINDS)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    return empty_url(request.param, tmp_path)


@pytest.fixture(params=KINDS)
def migrated(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database at the newest schema."""
    return migrated_url(request.param, tmp_path)


@pytest.fixture
def sql_store(migrated: str) -> Iterator[SqlStore]:
    """A store on such a database."""
    store = SqlStore.open(migrated)
    yield store
    store.close()
