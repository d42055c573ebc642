"""Measure how much of the full batch adaptive sampling finds, and how many of the forward passes it needs.

python scripts/bench_adaptive.py --model FOLDER --data FILE.jsonl --table /some/scratch/table.npz

Trains one MC-dropout adapter on the last ``--labels`` rows of the data (columns ``text`` and ``label``). Scores the
first ``--items`` rows once with ``--runs`` times the largest K samples, and keeps the log-probabilities in
``--table``; if that file exists, it is read instead. Each K samples of the table make one run, in which adaptive
sampling is compared with all K samples. The column "two full" is the overlap between the batches of two full runs:
the noise of K samples alone changes the rest of a batch.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from star_al.acquire.adaptive_sampling import BatchRule, Intervals, intervals, sample_stages, undecided
from star_al.acquire.blend import blend
from star_al.acquire.measures import MEASURES, predictive_entropy
from star_al.types import FloatArray, IntArray, Item, JsonObject

SAMPLES = (16, 32)
SETTINGS = (  # measure, λ, normalisation
    ("entropy", 1.0, "minmax"),
    ("entropy", 0.5, "minmax"),
    ("entropy", 0.1, "minmax"),
    ("entropy", 0.5, "rank"),
    ("margin", 1.0, "minmax"),
    ("margin", 0.5, "minmax"),
    ("least_confidence", 1.0, "minmax"),
)


def main() -> None:
    """Measure, print the table and write the JSON file."""
    options = _options()
    if not options.table.exists():
        _write_table(options)
    stored = np.load(options.table)
    log_probs_N_K_C = stored["log_probs"].astype(np.float64)
    base_N = predictive_entropy(stored["base"][:, None, :])
    rows = list(_measure(log_probs_N_K_C, base_N, options.batch, options.first))
    n, k, _ = log_probs_N_K_C.shape
    print(f"{n} items, {k} samples in the table, {options.first} in the first pass")
    print("  K batch  measure           λ    by       passes  overlap (least)  two full  runs")
    for row in rows:
        two = "–" if row["two_full"] is None else f"{row['two_full']:.3f}"
        print(
            f"{row['samples']:>3} {row['batch']:>5}  {row['measure']:<16} {row['weight']:.1f}"
            f"  {row['normalise']:<8} {row['passes']:>5.1%}    {row['overlap']:.3f} ({row['least']:.2f})"
            f"    {two:>7}  {row['runs']:>4}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", help="folder of the model; needed unless the table exists")
    parser.add_argument("--data", type=Path, help="JSONL with text and label; needed unless the table exists")
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--items", type=int, default=800)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+", default=[24, 50])
    parser.add_argument("--first", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not options.table.exists() and not (options.model and options.data):
        parser.error(f"{options.table} does not exist; making it needs --model and --data")
    return options


def _write_table(options: argparse.Namespace) -> None:
    """Train, predict, and save ``log_probs`` (N, K, C) float32 and the base model's ``base`` (N, C)."""
    from star_al.app.language_learners import posterior_method
    from star_al.config.spec import CampaignSpec
    from star_al.models.learner import LoraLearner
    from star_al.task import closed, make_task

    rows = [json.loads(line) for line in options.data.read_text(encoding="utf-8").splitlines()]
    spec = CampaignSpec.model_validate(
        {
            "name": "bench",
            "data": {"path": str(options.data)},
            "task": {
                "kind": "classification",
                "labels": sorted({row["label"] for row in rows}),
                "instruction": "",
                "template": "{text}\nTopic:",
                "chat_template": False,
            },
            "model": {"name": options.model, "max_tokens": options.tokens},
            "posterior": {"kind": "mc_dropout", "samples": max(SAMPLES)},
            "annotator": {"kind": "oracle", "gold": "label"},
        }
    )
    learner = LoraLearner(closed(make_task(spec.task)), spec, options.model, posterior_method(spec.posterior))
    items = [Item(f"{number:06d}", row["text"]) for number, row in enumerate(rows)]
    pool = items[: options.items]
    labelled = [(item, row["label"]) for item, row in zip(items, rows, strict=True)][-options.labels :]
    base_N_C = np.stack([prediction.log_probs_C for prediction in learner.base_predict(pool, _nowhere)])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        learner.fit(labelled, seed=options.seed, folder=folder, parent=None, advance=_nowhere)
        draws = range(options.runs * max(SAMPLES))
        predictions = learner.predict(folder, pool, draws=draws, seed=options.seed, advance=_nowhere)
    np.savez(options.table, log_probs=predictions.log_probs_N_K_C.astype(np.float32), base=base_N_C)


def _nowhere(_: int) -> None:
    """Ignore the progress."""


def _measure(
    log_probs_N_K_C: FloatArray, base_N: FloatArray, batches: list[int], first: int
) -> Iterator[JsonObject]:
    for samples in SAMPLES:
        runs = [
            log_probs_N_K_C[:, start : start + samples]
            for start in range(0, log_probs_N_K_C.shape[1] - samples + 1, samples)
        ]
        for batch in batches if runs else ():
            for measure, weight, normalise in SETTINGS:
                choice = BatchRule((batch,), weight, normalise)  # type: ignore[arg-type]
                full = [_batch(MEASURES[measure](run), base_N, choice) for run in runs]
                found = [_adaptive(run, base_N, measure, choice, first) for run in runs]
                overlaps = [len(ours & all_) / batch for (ours, _), all_ in zip(found, full, strict=True)]
                pairs = [len(one & other) / batch for one, other in combinations(full, 2)]
                yield {
                    "samples": samples,
                    "batch": batch,
                    "measure": measure,
                    "weight": weight,
                    "normalise": normalise,
                    "passes": float(np.mean([share for _, share in found])),
                    "overlap": float(np.mean(overlaps)),
                    "least": min(overlaps),
                    "two_full": float(np.mean(pairs)) if pairs else None,
                    "runs": len(runs),
                }


def _batch(adapted_N: FloatArray, base_N: FloatArray, choice: BatchRule) -> frozenset[int]:
    blended_N = blend(adapted_N, base_N, choice.weight, choice.normalise)
    return frozenset(np.argsort(-blended_N, kind="stable")[: choice.sizes[0]].tolist())


def _adaptive(
    log_probs_N_K_C: FloatArray, base_N: FloatArray, measure: str, choice: BatchRule, first: int
) -> tuple[frozenset[int], float]:
    """The batch that adaptive sampling chooses, and the share of the forward passes it needs."""
    n, samples, _ = log_probs_N_K_C.shape
    bounds_3_N, passes = np.zeros((3, n)), 0
    open_N: IntArray = np.arange(n)
    for draws in sample_stages(first, samples):
        here = intervals(log_probs_N_K_C[open_N, : draws.stop], MEASURES[measure], samples)
        bounds_3_N[:, open_N] = here.low_N, here.score_N, here.high_N
        passes += len(draws) * len(open_N)
        open_N = undecided(Intervals(*bounds_3_N), base_N, choice, open_N)
        if not len(open_N):
            break
    return _batch(bounds_3_N[1], base_N, choice), passes / (n * samples)


if __name__ == "__main__":
    main()
