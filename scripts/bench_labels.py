"""Compare scoring with all labels and by ``model.label_tolerance``: time, and how far the predictions move.

python scripts/bench_labels.py --model FOLDER --data texts.jsonl --adapter FOLDER --json found.json

The data has the columns ``text`` and ``label``. An adapter with MC dropout is trained on some of the texts into the
folder of ``--adapter`` unless it is there. Others are scored with its samples, in each dtype with all labels and with
each tolerance. CPU seconds of one thread are counted, as other programs may run. All are compared with the first, so
that the rows of bfloat16 show how far rounding alone moves predictions. The JSON file keeps the rows of other data.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from star_al.acquire.measures import MEASURES
from star_al.app.language_learners import posterior_method
from star_al.config.spec import CampaignSpec
from star_al.head.label_names import plain_name
from star_al.models.learner import LoraLearner
from star_al.ports import ignore
from star_al.task import closed, make_task
from star_al.types import FloatArray, Item


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, help="a model folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True, help="folder of the adapter")
    parser.add_argument("--labelled", type=int, default=150, help="texts that the adapter is trained on")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--texts", type=int, default=60)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--tolerances", type=float, nargs="+", default=[0.01])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=768, help="model.batch_tokens")
    parser.add_argument("--instruction", default="Short texts, and what they are about.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in options.data.read_text(encoding="utf-8").splitlines()]
    order = np.random.default_rng(0).permutation(len(rows))
    chosen = [(Item(f"{place:06d}", rows[place]["text"]), rows[place]["label"]) for place in order]
    spec = _spec(sorted({row["label"] for row in rows}), options)
    learner = _learner(spec, options, options.dtypes[-1])
    if not options.adapter.exists():
        options.adapter.mkdir(parents=True)
        learner.fit(chosen[: options.labelled], seed=0, folder=options.adapter, parent=None, advance=ignore)
    items = [item for item, _ in chosen[options.labelled :][: options.texts]]
    found = _compared(spec, options, items)
    print(json.dumps(found, indent=1))
    if options.json:
        kept = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps(kept | {options.data.parent.name: found}, indent=1) + "\n")


def _spec(labels: list[str], options: argparse.Namespace) -> CampaignSpec:
    tree: dict[str, Any] = {
        "name": "labels",
        "data": {"path": "texts.jsonl"},
        "task": {
            "kind": "classification",
            "labels": [{"name": name, "verbaliser": plain_name(name)} for name in labels],
            "chat_template": False,
            "instruction": options.instruction,
            "template": "{text}\n\nAbout:",
        },
        "model": {"name": options.model, "max_tokens": 64, "batch_tokens": options.batch},
        "adapter": {"loss": "answer", "learning_rate": 1e-3, "epochs": 1, "min_steps": options.steps},
        "posterior": {"kind": "mc_dropout"},
        "annotator": {"kind": "label_studio"},
    }
    return CampaignSpec.model_validate(tree)


def _learner(spec: CampaignSpec, options: argparse.Namespace, dtype: str) -> LoraLearner:
    method = posterior_method(spec.posterior)
    return LoraLearner(closed(make_task(spec.task)), spec, options.model, method, dtype=dtype)


def _compared(spec: CampaignSpec, options: argparse.Namespace, items: list[Item]) -> dict[str, Any]:
    """Return milliseconds a text and sample of each dtype and tolerance, and its distance from the first."""
    found: dict[str, Any] = {"labels": len(spec.task.labels), "texts": len(items), "samples": options.samples}
    exact: FloatArray | None = None
    for dtype in options.dtypes:
        learner = _learner(spec, options, dtype)
        for tolerance in (0.0, *options.tolerances):
            learner.predict(options.adapter, items[:2], draws=None, seed=0, advance=ignore)  # warms up
            start = time.process_time()
            predictions = learner.predict(
                options.adapter,
                items,
                draws=range(options.samples),
                seed=0,
                advance=ignore,
                tolerance=tolerance,
            )
            seconds = time.process_time() - start
            exact = predictions.log_probs_N_K_C if exact is None else exact
            row = {"ms": round(seconds / len(items) / options.samples * 1e3, 1)}
            row |= _distance(predictions.log_probs_N_K_C, exact)
            found[f"tolerance {tolerance:g}, {dtype}"] = row
            print(tolerance, dtype, row, flush=True)
    return found


def _distance(log_probs_N_K_C: FloatArray, exact_N_K_C: FloatArray) -> dict[str, float]:
    """Return how far predictions are from others, and how their measures rank the texts."""
    probs, exact = np.exp(log_probs_N_K_C), np.exp(exact_N_K_C)
    variation_N_K = 0.5 * np.abs(probs - exact).sum(axis=-1)
    found = {
        "other labels": int((probs.mean(1).argmax(-1) != exact.mean(1).argmax(-1)).sum()),
        "largest difference of a probability": float(np.abs(probs - exact).max()),
        "total variation, mean": float(variation_N_K.mean()),
        "total variation, largest": float(variation_N_K.max()),
    }
    for name in ("margin", "entropy", "bald"):
        mine, theirs = (MEASURES[name](each, per_option=False) for each in (log_probs_N_K_C, exact_N_K_C))
        if np.ptp(theirs) > 0:
            found[f"{name}, mean change"] = float(np.abs(mine - theirs).mean())
            found[f"{name}, rank correlation"] = float(spearmanr(mine, theirs)[0])
    return {
        name: float(f"{value:.3g}") if "rank" not in name else round(value, 4)
        for name, value in found.items()
    }


if __name__ == "__main__":
    main()
