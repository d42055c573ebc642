"""Fixtures of the tests that run whole campaigns in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.databases import KINDS, empty_url


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes URLs of empty databases, on SQLite and on Postgres."""
    return lambda: empty_url(request.param, tmp_path)
