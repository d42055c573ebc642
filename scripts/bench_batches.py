"""Measure the time and peak memory of each way to choose a batch, from a score file to the chosen ids.

python scripts/bench_batches.py --json FILE.json

The pool has ``--pool`` made-up items with ``--samples`` posterior samples each, once with 5 and once with 77
labels. Each batch of ``--batch`` items is chosen from the top ``--top``, in a process of its own. The model's share
is left out: its embeddings, of width ``--width``, are random numbers. ``epig`` scores the whole pool; all other rows
choose a batch. Read the CPU seconds on a machine with other load. A choice passes if it takes less than 60 s and
2 GB; the rules that cover the pool must take less than 20 s, and the blended top-k less than 2 s. With ``--width 384``
embeddings are as wide as a small sentence encoder's. ``--only`` runs some rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from star_al.acquire.blend import blend
from star_al.acquire.epig import epig
from star_al.acquire.measures import predictive_entropy
from star_al.artefacts import score_file
from star_al.artefacts.score_page import Scores
from star_al.config.spec import CampaignSpec
from star_al.ports import Advance
from star_al.steps.batch import choose_batch
from star_al.steps.batch_rules import Ranking
from star_al.steps.pool import SHARD_ITEMS
from star_al.steps.start import choose_start
from star_al.task import make_task
from star_al.types import Float32Array, FloatArray, Item, Label, Query, Role, Round, RoundState
from star_al.types import Reason as Why

LABELS = (5, 77)
KNOWN = 1000
TARGETS = 200
LIMIT = (60.0, 2e9)  # seconds, bytes
COVERING = ("facility_location, 30 a text", "cluster_margin", "uncertainty_herding", "herding", "search")
LIMITS = {"top_k": (2.0, 2e9)} | dict.fromkeys(COVERING, (20.0, 2e9))
KINDS: dict[str, dict[str, Any]] = {
    "top_k": {"kind": "top_k", "near_duplicates": None},
    "top_k, default": {"kind": "top_k"},
    "power": {"kind": "power"},
    "top_k, constraints": {"kind": "top_k", "balance": True, "near_duplicates": 0.8},
    "batchbald": {"kind": "batchbald"},
    "badge": {"kind": "badge"},
    "k_centre": {"kind": "k_centre"},
    "facility_location": {"kind": "facility_location"},
    "badge, constraints": {"kind": "badge", "balance": True, "near_duplicates": 0.8},
    "facility_location, 30 a text": {"kind": "facility_location", "top": None},
    "cluster_margin": {"kind": "cluster_margin", "top": None},
    "uncertainty_herding": {"kind": "uncertainty_herding", "top": None},
}
STARTS = ("typical", "herding", "search")
OTHERS = (*STARTS, "epig")


def main() -> None:
    """Write the score files, run each cell in a process of its own and print the table."""
    options = _options()
    if options.cell:
        name, labels, place = options.cell
        cell = _write_scores if name == "write" else _cell
        print(json.dumps(cell(name, int(labels), Path(place), options)))
        return
    rows = []
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        for labels in LABELS:
            file = Path(_in_own_process("write", labels, Path(folder), options)["file"])
            for name in options.only or (*KINDS, *OTHERS):
                rows.append(_in_own_process(name, labels, file, options))
                print(_line(rows[-1]), flush=True)
            file.unlink()
    if options.json:
        options.json.write_text(
            json.dumps({"options": vars(options) | {"json": None}, "rows": rows}, default=str)
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pool", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--top", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--scratch", type=Path, default=None, help="folder for score files of about 2 GB")
    parser.add_argument("--only", nargs="+", default=None, metavar="ROW")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--cell", nargs=3, default=None, help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_own_process(name: str, labels: int, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run one cell; a process inherits its parent's peak memory, so the parent does no work itself."""
    settings = [f"--{key}={getattr(options, key)}" for key in ("pool", "batch", "top", "samples", "width")]
    command = [sys.executable, __file__, *settings, "--cell", name, str(labels), str(place)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def _line(row: dict[str, Any]) -> str:
    seconds, memory = LIMITS.get(row["name"], LIMIT)
    verdict = "ok" if row["seconds"] < seconds and row["bytes"] < memory else "OVER THE LIMIT"
    time_taken = f"{row['seconds']:7.2f} s ({row['cpu']:6.2f} CPU)"
    return f"{row['name']:28} C = {row['labels']:2}  {time_taken}  {row['bytes'] / 1e9:5.2f} GB  {verdict}"


# -- one cell ------------------------------------------------------------------------------------------


def _cell(name: str, labels: int, file: Path, options: argparse.Namespace) -> dict[str, Any]:
    spec = _spec(KINDS.get(name, {}), name if name in STARTS else "random", labels, options)
    parts = _Parts(spec, options)
    start, cpu = time.perf_counter(), time.process_time()
    if name == "epig":
        found = _epig(file)
    elif name in STARTS:
        found = len(choose_start(parts, options.batch))  # type: ignore[arg-type]
    else:
        found = _choose(parts, file, options.batch)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"name": name, "labels": labels, "seconds": seconds, "cpu": cpu, "bytes": peak, "items": found}


def _choose(parts: Any, file: Path, size: int) -> int:
    item_ids, columns = score_file.read_scores(file)
    scores_N = blend(columns.adapted_uncertainty, columns.base_uncertainty, 0.5, "minmax")
    ranking = Ranking(item_ids, scores_N, file, None)
    return len({each.item_id for each in choose_batch(parts, ranking, size)})


def _epig(file: Path) -> int:
    """Score shard by shard, as the scoring step does; the first items are the targets."""
    targets_T_K_C = None
    done = 0
    for _, log_probs_N_K_C in score_file.iter_predictions(file):
        targets_T_K_C = log_probs_N_K_C[:TARGETS] if targets_T_K_C is None else targets_T_K_C
        done += len(epig(log_probs_N_K_C, targets_T_K_C))
    return done


def _spec(batch: dict[str, Any], start: str, labels: int, options: argparse.Namespace) -> CampaignSpec:
    return CampaignSpec.model_validate(
        {
            "name": "bench",
            "data": {"path": "pool.jsonl"},
            "task": {"kind": "classification", "labels": [f"label {column}" for column in range(labels)]},
            "model": {"name": "none"},
            "posterior": {"kind": "mc_dropout", "samples": options.samples},
            "acquisition": {
                "batch_size": options.batch,
                "cold_start": start,
                "search": "some words" if start == "search" else None,
                "batch": {"top": options.top, **batch},
            },
            "annotator": {"kind": "oracle", "gold": "label"},
        }
    )


@contextmanager
def _silent(description: str, total: int | None) -> Iterator[Advance]:
    yield lambda n: None


class _Parts:
    """As much of ``star_al.parts.RoundParts`` as a choice needs, without a database or a model."""

    def __init__(self, spec: CampaignSpec, options: argparse.Namespace) -> None:
        self.spec, self.task = spec, make_task(spec.task)
        self.round = Round(index=1, state=RoundState.SCORED, seed=0, config={})
        self.campaign = SimpleNamespace(campaign_id=1, seed=7, name="bench")
        self.progress = SimpleNamespace(task=_silent)
        self.store = self.learner = self.ranker = self
        self.head = None
        self._pool, self._width = options.pool, options.width
        self._known = [_item(f"known-{number:06d}") for number in range(KNOWN)]

    def pool_ids(self, campaign_id: int, round_index: int) -> list[str]:
        return [_item_id(number) for number in range(self._pool)]

    def item_ids(self, campaign_id: int, role: Role, *, by_round: int) -> list[str]:
        return self.pool_ids(campaign_id, by_round)

    def items(self, campaign_id: int, item_ids: Sequence[str]) -> list[Item]:
        return [_item(item_id) for item_id in item_ids]

    def training_labels(self, campaign_id: int, round_index: int) -> list[Label]:
        names = self.spec.task.label_names
        return [Label(item.item_id, names[n % len(names)]) for n, item in enumerate(self._known)]

    def queries(self, campaign_id: int) -> list[Query]:
        ids = [item.item_id for item in self._known]
        return [Query(item_id, item_id, 0, Role.POOL, n, Why("")) for n, item_id in enumerate(ids)]

    def embed(self, folder: Path | None, items: Sequence[Item], advance: Advance) -> Float32Array:
        random = np.random.default_rng(len(items))
        return random.standard_normal((len(items), self._width), dtype=np.float32)


def _item_id(number: int) -> str:
    return f"item-{number:06d}"


def _item(item_id: str) -> Item:
    random = np.random.default_rng(int(item_id[-6:]))
    return Item(item_id, " ".join(f"word{n}" for n in random.zipf(1.3, 40) % 5000))


# -- score files ---------------------------------------------------------------------------------------


def _write_scores(name: str, labels: int, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write predictions of mixed confidence whose samples disagree on some items."""
    random = np.random.default_rng(labels)
    shards = []
    for start in range(0, options.pool, SHARD_ITEMS):
        ids = [_item_id(number) for number in range(start, min(start + SHARD_ITEMS, options.pool))]
        shards.append(folder / f"{labels}-{start}.parquet")
        log_probs_N_K_C = _predictions(len(ids), options.samples, labels, random)
        scores = Scores(random.random(len(ids)), predictive_entropy(log_probs_N_K_C))
        score_file.write_shard(shards[-1], ids, log_probs_N_K_C, scores)
    path = folder / f"{score_file.concatenate([shards], folder)}.parquet"
    for shard in shards:
        shard.unlink()
    return {"file": str(path)}


def _predictions(n: int, samples: int, labels: int, random: np.random.Generator) -> FloatArray:
    sharpness_N_1_1 = random.uniform(0.5, 6.0, (n, 1, 1))
    spread_N_1_1 = random.exponential(0.4, (n, 1, 1))
    logits_N_K_C = sharpness_N_1_1 * random.standard_normal((n, 1, labels)) + spread_N_1_1 * (
        random.standard_normal((n, samples, labels))
    )
    log_probs_N_K_C: FloatArray = logits_N_K_C - np.logaddexp.reduce(logits_N_K_C, axis=-1, keepdims=True)
    return log_probs_N_K_C


if __name__ == "__main__":
    main()
