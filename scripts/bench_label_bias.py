"""Measure what taking the label bias out does to a language model that is not trained on the task.

    python scripts/bench_label_bias.py --model MODEL --cache DIR [--sets bbc ...] [--report]

Compares contextual calibration, which reads one empty text, with batch calibration, which reads a pool without labels,
and with the same corrected by random labels. The model predicts each set once; pool, labels and test are drawn anew for
every seed. The results of a set are a JSON file in ``--out``, and are left alone when they are there. ``--cache`` is
that of ``study_labels.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy is imported

import numpy as np
from labels_data import load

from star_al import rng
from star_al.app.language_learners import posterior_method
from star_al.common.files import replacing
from star_al.common.user_cache import cache_folder
from star_al.config.spec import CampaignSpec
from star_al.models.learner import LoraLearner
from star_al.ports import ignore
from star_al.stats import metrics
from star_al.stats.label_bias import batch_bias, fit_bias, without_bias
from star_al.stats.temperature import contextual_calibration
from star_al.task import closed, make_task
from star_al.types import FloatArray, IntArray, Item

OUT = Path(__file__).parents[1] / "docs" / "studies" / "data" / "label-bias"

SETS = ("bbc", "sms_spam", "banking77", "hwu64")

LABELS = (25, 100)

WAYS = ("raw", "contextual", "batch", *(f"batch, {n} labels" for n in LABELS))


def measure(name: str, arguments: argparse.Namespace) -> None:
    """Predict random texts of a set and the empty text with the base model, and keep what each way makes of them."""
    texts = load(arguments.cache / f"{name}.npz")
    random = rng.generator(0, 0, f"label bias/{name}")
    chosen = random.permutation(len(texts.texts))[: arguments.texts]
    spec = CampaignSpec.model_validate(
        {
            "name": name,
            "data": {"path": "pool.jsonl", "text": "text"},
            "task": {"kind": "classification", "labels": list(texts.labels), "contextual_calibration": True},
            "model": {"name": arguments.model, "max_tokens": arguments.max_tokens, "device": "cpu"},
            "posterior": {"kind": "map"},
            "annotator": {"kind": "oracle", "gold": "label"},
        }
    )
    task = closed(make_task(spec.task))
    learner = LoraLearner(task, spec, arguments.model, posterior_method(spec.posterior))
    items = [Item(str(place), texts.texts[place]) for place in chosen]
    found = learner.base_predict(items, ignore)
    prior_C = found[0].log_prior_C
    assert prior_C is not None
    log_probs_N_C, targets_N = np.stack([one.log_probs_C for one in found]), texts.targets_N[chosen]
    record = {
        "set": name,
        "model": Path(arguments.model).name,
        "texts": len(items),
        "most frequent": round(100 * float(np.bincount(targets_N).max()) / len(items), 1),
        "runs": [scores(log_probs_N_C, prior_C, targets_N, seed) for seed in range(arguments.seeds)],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    with replacing(arguments.out / f"{name}.json") as new:
        new.write_text(json.dumps(record, separators=(",", ":")), encoding="utf-8")
    print(f"{name}: {len(items)} texts", flush=True)


def scores(
    log_probs_N_C: FloatArray, empty_C: FloatArray, targets_N: IntArray, seed: int
) -> dict[str, list[float]]:
    """Accuracy and macro-F1 by each way to take the bias out, with half of the texts as pool and half as test."""
    order = rng.generator(seed, 0, "label bias").permutation(len(targets_N))
    pool, test = order[: len(order) // 2], order[len(order) // 2 :]
    prior_C = batch_bias(log_probs_N_C[pool])
    answers = {
        "raw": log_probs_N_C[test],
        "contextual": contextual_calibration(log_probs_N_C[test], np.tile(empty_C, (len(test), 1))),
        "batch": without_bias(log_probs_N_C[test], prior_C),
    }
    for n in LABELS:
        bias_C = fit_bias(log_probs_N_C[pool[:n]], targets_N[pool[:n]], prior_C)
        answers[f"batch, {n} labels"] = without_bias(log_probs_N_C[test], bias_C)
    return {way: _accuracy_and_f1(answers[way], targets_N[test]) for way in WAYS}


def _accuracy_and_f1(log_probs_N_C: FloatArray, targets_N: IntArray) -> list[float]:
    predicted_N = log_probs_N_C.argmax(axis=1)
    both = metrics.accuracy(predicted_N, targets_N), metrics.macro_f1(predicted_N, targets_N)
    return [round(100 * float(each), 2) for each in both]


def report(out: Path) -> None:
    """Print the mean accuracy and macro-F1 over seeds."""
    print("| accuracy / macro-F1 (%) | " + " | ".join(WAYS) + " | most frequent label |")
    print("|---" * (len(WAYS) + 2) + "|")
    for path in [out / f"{name}.json" for name in SETS]:
        if path.exists():
            record = json.loads(path.read_text(encoding="utf-8"))
            mean = {way: np.mean([run[way] for run in record["runs"]], axis=0) for way in WAYS}
            cells = [f"{mean[way][0]:.0f} / {mean[way][1]:.0f}" for way in WAYS]
            print(f"| {record['set']} | " + " | ".join(cells) + f" | {record['most frequent']:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="the language model, as a folder or a name on the hub")
    parser.add_argument("--cache", type=Path, default=cache_folder() / "study", help="folder of encoded sets")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of results")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--report", action="store_true", help="run nothing; print the table")
    arguments = parser.parse_args(sys.argv[1:])
    if not arguments.report:
        for name in arguments.sets:
            if not (arguments.out / f"{name}.json").exists():
                measure(name, arguments)
    report(arguments.out)


if __name__ == "__main__":
    main()
