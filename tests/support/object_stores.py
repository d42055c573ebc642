"""A server on this machine that speaks the protocol of S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import fsspec
import pytest
from moto.server import ThreadedMotoServer

BUCKET = "campaigns"


@contextmanager
def s3_server() -> Iterator[Mapping[str, str]]:
    """Start it with an empty bucket; gives the environment of those who use it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "of tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            fsspec.filesystem("s3").mkdir(BUCKET)
        yield environment
    finally:
        server.stop()
