"""A campaign of any size for ``bench_million.py``: made-up texts, a tiny sentence encoder and a tiny language model."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from star_al.config.spec.acquisition import AcquisitionSpec
from star_al.config.writing import to_yaml

LABELS = ("delivery", "billing", "account", "product", "returns", "other")
OWN_WORDS, COMMON_WORDS = 300, 900
"""Words of each label, and words of all of them."""

NEAR_DUPLICATES = 50
"""One text in this many is the one before it with another word."""

BATCH, ROUNDS, AUDIT, CALIBRATION = 100, 3, 300, 100
SHORTLIST = 20_000
"""Texts that a language model scores each round."""


def write_campaign(folder: Path, texts: int, learner: str, database: str) -> None:
    """Write data, new texts to predict, models and settings.

    Args:
        folder: Is made; files that are there stay.
        texts: Texts of the pool; half as many new ones.
        learner: ``head``, or ``lora`` for a language model that ranks, a shortlist if there are any.
        database: Its URL.
    """
    from support.tiny_encoder import build_tiny_encoder
    from support.tiny_model import build_tiny_model

    folder.mkdir(parents=True, exist_ok=True)
    words = _words()
    _write_rows(folder / "pool.jsonl", islice(rows(0), texts))
    _write_rows(folder / "new.jsonl", islice(rows(1), texts // 2))
    if not (folder / "encoder").exists():
        build_tiny_encoder(folder / "encoder", words=words)
    if learner == "lora" and not (folder / "model").exists():
        build_tiny_model(folder / "model")
    (folder / "campaign.yaml").write_text(to_yaml(_config(learner, database)), encoding="utf-8")


def has_shortlist() -> bool:
    """Return whether this version can score a shortlist."""
    return "shortlist" in AcquisitionSpec.model_fields


def rows(seed: int) -> Iterator[dict[str, str]]:
    """Yield different short texts with their labels, without end."""
    words, random_ = _words(), random.Random(seed)
    common, drawn, label = words[:COMMON_WORDS], [], LABELS[0]
    number = 0
    while True:
        number += 1
        if number % NEAR_DUPLICATES:
            which = random_.randrange(len(LABELS))
            label, first = LABELS[which], COMMON_WORDS + which * OWN_WORDS
            own = words[first : first + OWN_WORDS]
            drawn = random_.choices(own, k=random_.randint(2, 3)) + random_.choices(
                common, k=random_.randint(2, 4)
            )
            random_.shuffle(drawn)
        else:
            drawn = [*drawn[:-1], random_.choice(common)]
        yield {"text": f"{' '.join(drawn)} {seed}-{number}", "label": label}


def _words() -> tuple[str, ...]:
    syllables = [a + b for a, b in product("bdfgklmnprstvz", "aeiou")]
    shuffled = [a + b for a, b in product(syllables, repeat=2)]
    random.Random(0).shuffle(shuffled)
    return tuple(shuffled[: COMMON_WORDS + OWN_WORDS * len(LABELS)])


def _write_rows(path: Path, rows_: Iterator[dict[str, str]]) -> None:
    if path.exists():
        return
    aside = path.with_suffix(".part")
    with aside.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows_)
    aside.replace(path)


def _config(learner: str, database: str) -> dict[str, Any]:
    config: dict[str, Any] = {
        "name": "million",
        "data": {"path": "pool.jsonl"},
        "task": {"kind": "classification", "labels": list(LABELS)},
        "learner": {"kind": learner},
        "head": {"encoder": "encoder"},
        "model": {"dtype": "float32", "device": "cpu"},
        "acquisition": {"batch_size": BATCH},
        "annotator": {"kind": "oracle", "gold": "label"},
        "evaluation": {"kind": "audit", "size": AUDIT, "calibration": CALIBRATION},
        "stopping": {"max_rounds": ROUNDS},
        "database": {"url": database},
    }
    if learner == "lora":
        config["learner"] = {"kind": "lora", "head": True}
        config["model"] |= {"name": "model", "max_tokens": 96, "batch_tokens": 4096}
        config["adapter"] = {"rank": 2, "learning_rate": 0.01, "epochs": 1}
    if learner == "lora" and has_shortlist():
        config["acquisition"]["shortlist"] = {"size": SHORTLIST, "by": "head"}
    return config


if __name__ == "__main__":
    given_folder, given_texts, *rest = sys.argv[1:]
    write_campaign(Path(given_folder), int(given_texts), *rest)
