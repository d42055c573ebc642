"""Fetch what tests share, before they run: ``python -m support.warm_up`` from ``tests``.

A test that misses something fetches it by itself, while the others wait for it.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from star_al.app.demo import demo_encoder, prepare_model
from support.label_studio_server import fresh_place


def main() -> None:
    for fetch in (prepare_model, demo_encoder):
        fetch(print)
    with TemporaryDirectory() as home:
        fresh_place(Path(home) / "server")


if __name__ == "__main__":
    main()
