"""Time the rounds of a campaign with a head over many texts: the whole loop on SQLite, with a stand-in encoder.

    python scripts/bench_head.py --texts 100000 --profile

The encoder's vectors are random around a centre for each label, so that only the loop is timed. In the first trained
round the head finds the nearest neighbours of all texts; later rounds are what people wait for. With
--drawn-neighbours the neighbours are drawn, which leaves the later rounds as long as they are.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import json
import pstats
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from star_al.app import running
from star_al.config.file import load_campaign
from star_al.config.writing import to_yaml
from star_al.head import Neighbours
from star_al.loop import Loop
from star_al.models import encoder as encoder_module
from star_al.models import head_pool
from star_al.models.encoded import Encoded
from star_al.ports import Advance

DIMENSION = 384


class RandomEncoder:
    """Stands in for a sentence encoder: a text's vector is drawn around the centre of the label that it names."""

    fingerprint = hashlib.sha256(b"random").hexdigest()
    device, dtype = torch.device("cpu"), "float32"

    def check(self) -> None:
        """Do nothing: there are no weights."""

    def encode(self, texts: Sequence[str], advance: Advance = lambda _: None) -> Encoded:
        """Return a vector for each text."""
        vectors = np.stack([_centre(text) + 2.0 * _noise(text) for text in texts]).astype(np.float32)
        advance(len(texts))
        return Encoded(vectors, np.zeros(len(texts), dtype=bool))


def _open(*_: object, **__: object) -> RandomEncoder:
    return RandomEncoder()


def _drawn(embeddings: Any, k: int, _: object) -> Neighbours:
    shape = (len(embeddings), k)
    rows = np.random.default_rng(0).integers(0, len(embeddings), size=shape, dtype=np.int32)
    return Neighbours(rows, np.ones(shape, dtype=np.float32))


def _centre(text: str) -> Any:
    words = text.split()
    return _noise(" ".join(words[:2]))


def _noise(text: str) -> Any:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(DIMENSION)


class Shown:
    """Implements ``ports.Progress`` by printing what is said."""

    def say(self, message: str) -> None:
        """Print a line."""
        print(message, flush=True)

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """Show nothing."""
        yield lambda _: None

    def waiting(self, message: str | None) -> None:
        """Show nothing."""


def write_campaign(folder: Path, texts: int, labels: int, batch: int, rounds: int) -> Path:
    """Write a campaign file and its texts, each of which names its label."""
    names = [f"label {number}" for number in range(labels)]
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abcdefghijklmnopqrstuvwxyz"), 6)) for _ in range(5000)]
    with (folder / "pool.jsonl").open("w", encoding="utf-8") as file:
        for number in range(texts):
            name = names[number % labels]
            text = " ".join([name, *random.choice(words, 12), str(number)])
            file.write(json.dumps({"text": text, "label": name}) + "\n")
    spec: dict[str, Any] = {
        "name": "bench",
        "data": {"path": "pool.jsonl", "text": "text"},
        "task": {"kind": "classification", "labels": names},
        "learner": {"kind": "head"},
        "annotator": {"kind": "oracle", "gold": "label"},
        "acquisition": {"batch_size": batch},
        "evaluation": {"kind": "audit", "size": 200, "calibration": 0},
        "stopping": {"max_rounds": rounds},
    }
    path = folder / "campaign.yaml"
    path.write_text(to_yaml(spec), encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--profile", action="store_true", help="Profile the last round.")
    parser.add_argument("--drawn-neighbours", action="store_true", help="Draw neighbours; do not search.")
    arguments = parser.parse_args()
    encoder_module.open_encoder = _open  # type: ignore[assignment]
    if arguments.drawn_neighbours:
        head_pool.neighbour_graph = _drawn  # type: ignore[assignment, attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        path = write_campaign(
            Path(folder), arguments.texts, arguments.labels, arguments.batch, arguments.rounds
        )
        _run(path, arguments.rounds, profile=arguments.profile)


def _run(path: Path, rounds: int, *, profile: bool) -> None:
    file = load_campaign(path)
    profiler = cProfile.Profile()
    with running.controlling(file, Shown()) as parts:
        for index in range(rounds):
            start, cpu = time.monotonic(), time.process_time()
            if profile and index == rounds - 1:
                profiler.enable()
            Loop(parts).run(1)
            profiler.disable()
            memory = psutil.Process().memory_info().rss / 1e9
            cpu = time.process_time() - cpu  # what counts on a machine with other work
            print(
                f"== round {index}: {time.monotonic() - start:.2f} s, CPU {cpu:.2f} s, {memory:.2f} GB",
                flush=True,
            )
    if profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)


if __name__ == "__main__":
    main()
