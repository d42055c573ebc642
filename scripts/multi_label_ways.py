"""Compare ways to predict any number of labels a text.

They are a head, a classifier above LoRA, yes or no for each label, and a model that writes the set.

There are two sets. *operations*: which of + − × ÷ the solution of a GSM8K question needs, by its <<…>> calculations.
*requests*: one to three requests of hwu64 in one text; the labels are those of six subjects that they are about. Writes
one JSON line for each way, seed and number of labels.

    python scripts/multi_label_ways.py operations GSM8K_FOLDER MODEL_FOLDER ENCODER_FOLDER --labels 60 150 --seeds 0 1
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from star_al.config.spec import CampaignSpec, LoraLearnerSpec
from star_al.display.progress import SilentProgress
from star_al.models.encoder import open_encoder
from star_al.models.head_label_sets import LabelSetHeadLearner
from star_al.models.head_texts import TextReader
from star_al.models.label_set_learner import LabelSetLearner
from star_al.models.posterior.point import Map
from star_al.models.text_learner import TextLearner
from star_al.ports import Pool, ignore
from star_al.stats.label_sets import micro_f1_of, thresholds
from star_al.task import MultiLabel, Text
from star_al.types import Item, JsonValue, Predictions

OPERATIONS = {"addition": "+", "subtraction": "-", "multiplication": "*", "division": "/"}
SUBJECTS = ("calendar", "play", "email", "iot", "weather", "transport")
WAYS = ("head", "classifier", "each", "written")

Rows = list[tuple[Item, JsonValue]]


def operations(path: Path, n: int) -> Rows:
    """Return the first questions of a file with the operations of their solutions."""
    rows: Rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()[:n]):
        row = json.loads(line)
        signs = "".join(part.split("=")[0].lstrip("-") for part in re.findall(r"<<(.*?)>>", row["answer"]))
        found: JsonValue = [name for name, sign in OPERATIONS.items() if sign in signs]
        rows.append((Item(f"{path.stem}-{number}", row["question"]), found))
    return rows


def requests(path: Path, n: int) -> Rows:
    """Return texts of one to three random requests, with the subjects among ``SUBJECTS`` that they are about."""
    given = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    generator = np.random.default_rng(0)
    rows: Rows = []
    for number in range(n):
        chosen = [given[place] for place in generator.integers(len(given), size=generator.integers(1, 4))]
        about = {row["label"].split("_")[0] for row in chosen}
        text = ". ".join(row["text"] for row in chosen)
        rows.append((Item(f"{path.stem}-{number}", text), [name for name in SUBJECTS if name in about]))
    return rows


@dataclass(frozen=True)
class DataSet:
    """Texts with sets of labels: how they are read, the labels, and what the language model is told."""

    read: Callable[[Path, int], Rows]
    labels: Sequence[str]
    instruction: str
    written: str


SETS = {
    "operations": DataSet(
        operations,
        tuple(OPERATIONS),
        "Which operations does the question need? Say yes or no for each: {labels}.",
        "Which operations does the question need? Write all that it needs of {labels}, with commas between, or none.",
    ),
    "requests": DataSet(
        requests,
        SUBJECTS,
        "Which of these subjects are the requests about? Say yes or no for each: {labels}.",
        "Which of these subjects are the requests about? Write all of {labels} that fit, with commas between, or none.",
    ),
}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("encoder")
    parser.add_argument("--labels", type=int, nargs="+", default=[60, 150])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ways", nargs="+", default=WAYS)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--tests", type=int, default=200)
    arguments = parser.parse_args()
    chosen = SETS[arguments.set]
    pool = chosen.read(arguments.data / "train.jsonl", 1000)
    test = chosen.read(arguments.data / "test.jsonl", arguments.tests)
    for way in arguments.ways:
        for seed in arguments.seeds:
            order = np.random.default_rng(seed).permutation(len(pool))
            for n in arguments.labels:
                start = time.perf_counter()
                measure = written if way == "written" else predicted
                found = measure(way, arguments, [pool[place] for place in order], n, test, seed)
                print(
                    json.dumps(
                        {"way": way, "labels": n, "seed": seed}
                        | found
                        | {"seconds": round(time.perf_counter() - start)}
                    ),
                    flush=True,
                )


def predicted(
    way: str,
    arguments: argparse.Namespace,
    pool: list[tuple[Item, JsonValue]],
    n: int,
    test: list[tuple[Item, JsonValue]],
    seed: int,
) -> dict[str, Any]:
    """Train on n labels and return figures on the test set."""
    spec = spec_of(way, arguments)
    task = MultiLabel(spec.task)  # type: ignore[arg-type]
    items = sorted((item for item, _ in pool), key=lambda item: item.item_id)
    by_id = {item.item_id: item for item in items}
    texts = Pool(tuple(by_id), lambda ids: [by_id[each] for each in ids])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "artefact"
        folder.mkdir()
        learner: Any
        if way == "head":
            reader = TextReader(
                spec,
                arguments.encoder,
                lambda: open_encoder(arguments.encoder, device="cpu", dtype="float32", max_tokens=256),
                Path(name),
                SilentProgress(),
            )
            learner = LabelSetHeadLearner(task, spec, reader, lambda _: texts)
        else:
            learner = LabelSetLearner(task, spec, arguments.model, Map())
        if n:
            learner.fit(pool[:n], pool=texts, seed=seed, folder=folder, parent=None, advance=ignore)
        asked = [item for item, _ in test]
        predictions = learner.predict(folder if n else None, asked, draws=None, seed=seed, advance=ignore)
    return figures(task, predictions, task.matrix(test))


def written(
    way: str,
    arguments: argparse.Namespace,
    pool: list[tuple[Item, JsonValue]],
    n: int,
    test: list[tuple[Item, JsonValue]],
    seed: int,
) -> dict[str, Any]:
    """Train a model to write the sets of n labels, and return figures of the sets that it writes to the test set."""
    sets = MultiLabel(spec_of(way, arguments).task)  # type: ignore[arg-type]
    spec = written_spec(arguments)
    learner = TextLearner(Text(spec.task), spec, arguments.model, Map())  # type: ignore[arg-type]
    spelled = [(item, sets.spell(item, value)) for item, value in pool[:n]]
    asked = [item for item, _ in test]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        learner.fit(spelled, seed=seed, folder=folder, parent=None, advance=ignore)
        predictions = learner.predict(folder, asked, draws=None, seed=seed, advance=ignore)
    read = [
        sets.read(item, str(answers[0])) for item, answers in zip(asked, predictions.answers, strict=True)
    ]
    sets_N_L = sets.matrix([(item, value or []) for item, value in zip(asked, read, strict=True)])
    return set_figures(sets_N_L, sets.matrix(test)) | {"unreadable": sum(value is None for value in read)}


def written_spec(arguments: argparse.Namespace) -> CampaignSpec:
    """Return the settings of a model that writes the set as a text."""
    chosen = SETS[arguments.set]
    tree = spec_of("written", arguments).model_dump(exclude_unset=True)
    instruction = chosen.written.replace("{labels}", ", ".join(chosen.labels))
    task = {"kind": "text", "instruction": instruction, "max_answer_tokens": 24}
    return CampaignSpec.model_validate(tree | {"task": task, "acquisition": {"measure": "nll"}})


def spec_of(way: str, arguments: argparse.Namespace) -> CampaignSpec:
    """Return the settings of a way."""
    adapter = {"output": "classifier" if way == "classifier" else "label_names"}
    adapter |= {
        key: value
        for key, value in (("epochs", arguments.epochs), ("learning_rate", arguments.rate))
        if value
    }
    return CampaignSpec.model_validate(
        {
            "name": arguments.set,
            "data": {"path": "unused.csv"},
            "task": {
                "kind": "multi_label",
                "labels": list(SETS[arguments.set].labels),
                "instruction": SETS[arguments.set].instruction,
            },
            "model": {"name": arguments.model, "device": "cpu"},
            "learner": {"kind": "head"} if way == "head" else LoraLearnerSpec(kind="lora").model_dump(),
            "adapter": adapter,
            "annotator": {"kind": "oracle", "gold": "label"},
        }
    )


def figures(task: MultiLabel, predictions: Predictions, right_N_L: Any) -> dict[str, Any]:
    """Return the figures of the likeliest sets, and of thresholds that the first half chose on the second."""
    names = task.spec.label_names
    likeliest: list[Any] = [answers[0] for answers in predictions.answers]
    sets_N_L = np.array([[name in found for name in names] for found in likeliest])
    probs_N_L = np.column_stack([predictions.signals[f"p({name})"] for name in names])
    half = len(right_N_L) // 2
    chosen_L = thresholds(probs_N_L[:half], right_N_L[:half])
    plain, tuned = probs_N_L[half:] >= 0.5, probs_N_L[half:] >= chosen_L
    return set_figures(sets_N_L, right_N_L) | {
        "nll_a_label": round(float(-np.log(np.where(right_N_L, probs_N_L, 1 - probs_N_L)).mean()), 3),
        "second_half": [round(micro_f1_of(each, right_N_L[half:]), 3) for each in (plain, tuned)],
    }


def set_figures(sets_N_L: Any, right_N_L: Any) -> dict[str, Any]:
    """Return the figures of sets alone."""
    return {
        "micro_f1": round(micro_f1_of(sets_N_L, right_N_L), 3),
        "hamming": round(float((sets_N_L != right_N_L).mean()), 3),
        "subset": round(float((sets_N_L == right_N_L).all(axis=1).mean()), 3),
    }


if __name__ == "__main__":
    main()
