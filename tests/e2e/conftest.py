"""Fixtures of the tests that run whole campaigns in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.databases import KINDS, empty_url
from support.zygote import Zygote


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """Starts controllers."""
    with Zygote() as one:
        yield one


@pytest.fixture(scope="module")
def model_zygote() -> Iterator[Zygote]:
    """Starts controllers with a learner of ours."""
    with Zygote(STAR_AL_TEST_LEARNER="own", OMP_NUM_THREADS="1") as one:
        yield one


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes URLs of empty databases, on SQLite and on Postgres."""
    return lambda: empty_url(request.param, tmp_path)
