"""Compare how long a round of LoRA takes with what `star-al init` estimates, from a part of the round.

python scripts/bench_round.py --model FOLDER --data texts.jsonl --json rounds.json

The data has the columns ``text`` and ``label``. ``--steps`` training steps and ``--texts`` texts with one posterior
sample each are timed, on texts drawn at random; a whole round has as many steps and scored texts as ``init`` reckons
with, half of its label budget spent. The JSON file keeps the rows of other data.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch

from star_al.app.language_learners import posterior_method
from star_al.app.round_time import round_work, seconds_of_round
from star_al.config.spec import FROM_FILE, CampaignSpec
from star_al.models.learner import LoraLearner
from star_al.models.speed import parameters_used, products_per_second
from star_al.task import closed, make_task
from star_al.types import Item


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True, help="a model folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--texts", type=int, default=96)
    parser.add_argument("--pool", type=int, default=2000, help="texts of the pool of the whole round")
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.data.read_text(encoding="utf-8").splitlines()]
    spec = _spec(sorted({row["label"] for row in rows}), options)
    chosen = np.random.default_rng(0).permutation(len(rows))[: options.steps * 8 + options.texts]
    items = [Item(f"{number:06d}", rows[number]["text"]) for number in chosen]
    labels = [rows[number]["label"] for number in chosen]
    work = round_work(spec, options.pool, fmean(len(row["text"]) for row in rows))
    speed = products_per_second("auto", "auto")
    parameters = parameters_used(options.model, None)
    if parameters is None:
        raise SystemExit(f"{options.model}: the size of the model is not known")
    step, text = _timed(spec, options, items, labels)
    found = {
        "labels": len(spec.task.labels),
        "threads": torch.get_num_threads(),
        "products per second": speed,
        "seconds of a step": step,
        "seconds of a scored text": text,
        "steps": work.steps,
        "scored texts": work.passes,
        "seconds of a round": work.steps * step + work.passes * text,
        "estimated": seconds_of_round(work, parameters, speed),
        "tokens trained": work.trained,
        "tokens scored": work.scored,
        "parameters": parameters,
    }
    print(json.dumps(found, indent=1))
    if options.json:
        kept = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps(kept | {str(options.data): found}, indent=1) + "\n")


def _spec(labels: list[str], options: argparse.Namespace) -> CampaignSpec:
    tree: dict[str, Any] = {
        "name": "round",
        "data": {"path": "texts.jsonl"},
        "task": {"kind": "classification", "labels": labels},
        "model": {"name": options.model, "max_tokens": options.max_tokens},
        "annotator": {"kind": "label_studio"},
        "evaluation": {"size": 100, "calibration": 30},
        "stopping": {"max_labels": 530},
    }
    return CampaignSpec.model_validate(tree, context=FROM_FILE)


def _timed(
    spec: CampaignSpec, options: argparse.Namespace, items: list[Item], labels: list[str]
) -> tuple[float, float]:
    """Return the seconds of a training step, and of a text scored with one sample."""
    once = spec.model_copy(
        update={"adapter": spec.adapter.model_copy(update={"epochs": 1, "min_steps": options.steps})}
    )
    learner = LoraLearner(closed(make_task(once.task)), once, options.model, posterior_method(once.posterior))
    learner.check(items[:4])
    examples = list(zip(items, labels, strict=True))[: options.steps * once.adapter.batch_size]
    times = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "adapter"
        folder.mkdir()
        learner.fit(
            examples,
            seed=0,
            folder=folder,
            parent=None,
            advance=lambda _: times.append(time.perf_counter()),
        )
        scored: list[tuple[float, int]] = []
        learner.predict(
            folder,
            items[-options.texts :],
            draws=range(1),
            seed=0,
            advance=lambda n: scored.append((time.perf_counter(), n)),
        )
    # From the end of the first minibatch on: merging the sample's weights is the same for a pool of any size.
    seconds = scored[-1][0] - scored[0][0]
    return median(np.diff(times[1:]).tolist()), seconds / sum(n for _, n in scored[1:])


if __name__ == "__main__":
    main()
