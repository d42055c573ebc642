"""Measure how much faster two workers score a pool than one, each with one thread.

python scripts/bench_cluster.py --model some/model/folder --json cluster.json

Both numbers of workers score the same texts with the same adapter and samples, in turns, on clusters that the script
starts. Starting them and loading the model is not counted. It checks that all turns give the same predictions.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import numpy as np

from star_al.app.compose import open_learner
from star_al.app.computing import open_ray
from star_al.app.starting import create_campaign
from star_al.app.stores import open_store
from star_al.artefacts.folder import ArtefactFolder
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile, RayComputeSpec
from star_al.config.writing import to_yaml
from star_al.display.progress import SilentProgress
from star_al.models.devices import use_threads
from star_al.parts import Parts
from star_al.ports import Pool, Predict, ignore
from star_al.types import FloatArray, Item, JsonObject

BAR = 1.7
WORDS = [f"word{n}" for n in range(40)]
LABELS = ["business", "sport", "tech"]


def made_up(n: int, seed: int) -> list[Item]:
    """Texts of 20 to 60 words."""
    random_ = random.Random(seed)
    texts = [" ".join(random_.choices(WORDS, k=random_.randint(20, 60))) for _ in range(n)]
    return [Item(f"{number:05d}", text) for number, text in enumerate(texts)]


def campaign(folder: Path, model: str, samples: int) -> CampaignFile:
    rows = [{"text": item.text, "label": LABELS[n % 3]} for n, item in enumerate(made_up(60, 1))]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings: JsonObject = {
        "name": "bench",
        "data": {"path": "pool.jsonl"},
        "task": {"kind": "classification", "labels": LABELS},
        "model": {"name": model, "device": "cpu"},
        "adapter": {"epochs": 1, "min_steps": 1},
        "posterior": {"kind": "mc_dropout", "samples": samples},
        "annotator": {"kind": "oracle", "gold": "label"},
        "evaluation": {"kind": "none", "calibration": 0, "stop_set": 10},
    }
    path = folder / "campaign.yaml"
    path.write_text(to_yaml(settings), encoding="utf-8")
    return load_campaign(path)


def open_parts(file: CampaignFile) -> Parts:
    store, progress = open_store(file, create=True), SilentProgress()
    return Parts(
        campaign=create_campaign(file, store, progress),
        spec=file.spec,
        store=store,
        learner=open_learner(file, file.spec, [], progress),
        artefacts=ArtefactFolder(file.artefact_folder),
        progress=progress,
    )


def adapter(parts: Parts) -> Path:
    """An adapter after a step or two; how good it is costs no time."""
    examples = [(item, LABELS[n % 3]) for n, item in enumerate(made_up(6, 2))]
    with parts.artefacts.stage() as folder:
        kind = parts.learner.fit(
            examples, pool=Pool((), lambda ids: []), seed=0, folder=folder, parent=None, advance=ignore
        )
        return parts.artefacts.path_of(parts.artefacts.adopt(folder, kind).sha256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder or hub name")
    parser.add_argument("--texts", type=int, default=96, help="texts of a shard")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    use_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        file = campaign(Path(folder), args.model, args.samples)
        parts = open_parts(file)
        parts.artefacts.prepare()
        trained, texts = adapter(parts), made_up(args.texts * args.shards, 3)
        seconds: dict[int, list[float]] = {1: [], 2: []}
        found: list[FloatArray] = []
        for turn in range(args.turns):
            for workers in (1, 2) if turn % 2 == 0 else (2, 1):
                settings = RayComputeSpec(kind="ray", workers=workers)
                with open_ray(file, parts, settings, lambda: None, "run") as compute:
                    warm = [Predict(trained, made_up(4, 9), range(2 * workers), 0)]
                    list(compute.each(parts.learner, warm, ignore))  # loads the model in each worker
                    jobs = [
                        Predict(trained, texts[k :: args.shards], range(args.samples), 0)
                        for k in range(args.shards)
                    ]
                    start = time.perf_counter()
                    results = list(compute.each(parts.learner, jobs, ignore))
                    seconds[workers].append(time.perf_counter() - start)
                    found.append(np.concatenate([each.log_probs_N_K_C for each in results]))
                print(f"{workers} workers: {seconds[workers][-1]:.1f} s", flush=True)
        assert all(np.array_equal(found[0], each) for each in found), "the predictions differ"
    ratio = min(seconds[1]) / min(seconds[2])
    result = {
        "model": Path(args.model).name,
        "texts": args.texts * args.shards,
        "samples": args.samples,
        "seconds": {f"{workers} workers": times for workers, times in seconds.items()},
        "ratio": ratio,
    }
    print(f"two workers score {ratio:.2f} times as fast as one (bar: {BAR})")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
