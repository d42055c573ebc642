from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.label_studio_server import LabelStudio, start_server


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    """A real server for all tests of this run; each makes its own projects."""
    server = start_server(tmp_path_factory.mktemp("label_studio") / "home")
    yield server
    server.stop()
