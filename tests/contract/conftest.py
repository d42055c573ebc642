"""The stores that the contract suite runs over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.store import SqlStore
from star_al.ports import Store
from support.databases import KINDS, migrated_url
from support.memory_store import MemoryStore


@pytest.fixture(params=["memory", *KINDS])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store without campaigns."""
    opened: Store = (
        MemoryStore() if request.param == "memory" else SqlStore.open(migrated_url(request.param, tmp_path))
    )
    yield opened
    opened.close()
