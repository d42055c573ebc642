"""Small campaigns on disk: a JSONL file of labelled made-up sentences and a campaign file beside it."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

from star_al.config.dotted_names import set_value
from star_al.config.writing import to_yaml

WORDS = {
    "sport": ["goal", "match", "striker", "cup", "team", "coach", "league", "final"],
    "business": ["market", "bank", "shares", "profit", "trade", "rates", "firm", "deal"],
    "tech": ["phone", "chip", "software", "robot", "data", "screen", "network", "code"],
}
FILLERS = ["the", "a", "new", "old", "on", "in", "monday", "report", "said", "after", "before", "city"]

CONFIG: dict[str, Any] = {
    "name": "small",
    "seed": 7,
    "data": {"path": "pool.jsonl", "text": "text", "id": "id"},
    "task": {"kind": "classification", "labels": list(WORDS)},
    "model": {"name": "model", "dtype": "float32", "device": "cpu", "max_tokens": 96},
    "adapter": {"rank": 2, "learning_rate": 0.01, "epochs": 1, "target_modules": ["q_proj", "v_proj"]},
    "posterior": {"kind": "mc_dropout", "samples": 2},
    "acquisition": {"batch_size": 4},
    "annotator": {"kind": "oracle", "gold": "label"},
    "evaluation": {"kind": "audit", "size": 8, "calibration": 6, "stop_set": 10},
    "stopping": {"max_rounds": 3},
    "database": {"lease_seconds": 3.0},
}


def make_rows(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return ``n`` different rows with id, text and label; lengths differ and some texts are ambiguous."""
    random_ = random.Random(seed)
    labels = list(WORDS)
    rows = []
    for number in range(n):
        label = labels[number % len(labels)]
        other = random_.choice(labels)
        words = random_.sample(WORDS[label], 2) + random_.sample(WORDS[other], 1)
        words += random_.sample(FILLERS, random_.randint(1, 6))
        random_.shuffle(words)
        rows.append({"id": f"row-{seed}-{number}", "text": f"{' '.join(words)} {number}", "label": label})
    return rows


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write one JSON object a line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_campaign(folder: Path, *, n: int = 60, **changes: Any) -> Path:
    """Write pool.jsonl and campaign.yaml; ``section__field=value`` and ``field=value`` change the config."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "pool.jsonl").exists():
        write_jsonl(folder / "pool.jsonl", make_rows(n))
    config = copy.deepcopy(CONFIG)
    for name, value in changes.items():
        set_value(config, name.replace("__", "."), value)
    path = folder / "campaign.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    return path
