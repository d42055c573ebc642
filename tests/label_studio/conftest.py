from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.label_studio_server import LabelStudio, start_server
from support.zygote import Zygote


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    """A real server for all tests of this run; each makes its own projects."""
    server = start_server(tmp_path_factory.mktemp("label_studio") / "home")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def zygote(label_studio: LabelStudio) -> Iterator[Zygote]:
    """Starts controllers that know the server's token."""
    with Zygote(LABEL_STUDIO_API_KEY=label_studio.token, STAR_AL_TEST_TOKEN=label_studio.token) as one:
        yield one
