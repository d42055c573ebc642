"""Campaigns with any number of labels a text from the command line, from the first round to reports and exports."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from star_al import Campaign
from star_al.cli.main import run_command
from star_al.errors import DataError
from support.campaigns import WORDS, make_rows, write_campaign, write_jsonl
from support.quiet import Quiet
from support.tiny_encoder import build_tiny_encoder

StarAl = Callable[..., tuple[int, str, str]]


USE = """
import json, sys
sys.path[:] = [p for p in sys.path if "star_al" not in p]
from labeller import Labeller
assert not any(name.split(".")[0] == "star_al" for name in sys.modules)
labeller = Labeller(".", device="cpu")
print(json.dumps([[labeller.choose(text), labeller(text)] for text in json.load(sys.stdin)]))
"""


def used(folder: Path, texts: list[str]) -> list[tuple[list[str], dict[str, float]]]:
    """What an exported folder answers in a process without star_al."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", USE],
        input=json.dumps(texts),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [(chosen, probabilities) for chosen, probabilities in json.loads(done.stdout)]


def rows_with_sets(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Texts whose labels are the subjects that their words belong to; every seventh has none."""
    rows = make_rows(n, seed)
    for number, row in enumerate(rows):
        if number % 7 == 0:
            row["text"] = f"the old city said {number}"
        words = row["text"].split()
        row["label"] = [name for name, own in WORDS.items() if set(own) & set(words)]
    return rows


def test_a_campaign_of_label_sets_goes_from_question_to_export(tmp_path: Path, star_al: StarAl) -> None:
    words = tuple(word for words in WORDS.values() for word in words)
    build_tiny_encoder(tmp_path / "encoder", words=words)
    rows = rows_with_sets(90)
    write_jsonl(tmp_path / "pool.jsonl", rows)
    config = write_campaign(
        tmp_path,
        task={"kind": "multi_label", "labels": list(WORDS)},
        learner={"kind": "head"},
        head={"encoder": "encoder"},
        model={"dtype": "float32"},  # an exported folder is compared, which reads a text with other padding
        acquisition={"batch_size": 10, "measure": "label_margin_mean"},
        annotator={"kind": "oracle", "gold": "label"},
        evaluation={"kind": "audit", "size": 15, "calibration": 15},
        stopping__max_rounds=2,
    )
    code, out, err = star_al("run", config)
    assert code == 0, (out, err)
    assert "micro-F1" in out + err and "Hamming loss" in out + err
    code, out, err = star_al("replay", config, "--round", 1)
    assert code == 0, (out, err)

    code, out, err = star_al("export", config, "--out", "-", "--format", "jsonl")
    assert code == 0, err
    lines = {line["id"]: line for line in map(json.loads, out.splitlines())}
    golds = {row["id"]: row["label"] for row in rows}
    labelled = {key: line for key, line in lines.items() if line["label"] is not None}
    assert len(labelled) >= 30 and any(line["label"] == [] for line in labelled.values())
    assert all(line["label"] == golds[key] for key, line in labelled.items())

    texts = [row["text"] for row in rows_with_sets(6, seed=9)[1:]]  # the first has many equal neighbours
    given = write_jsonl(
        tmp_path / "given.jsonl", [{"id": f"n{n}", "text": text} for n, text in enumerate(texts)]
    )
    code, out, err = star_al("predict", config, "--in", given, "--out", "-", "--format", "jsonl")
    assert code == 0, err
    predicted = [json.loads(line) for line in out.splitlines()]
    for line in predicted:
        assert isinstance(line["predicted"], list) and set(line["predicted"]) <= set(WORDS)
        assert 0 < line["confidence"] <= 1

    code, out, err = star_al("export-model", config, "--out", tmp_path / "model")
    assert code == 0, err
    for line, (chosen, probabilities) in zip(predicted, used(tmp_path / "model", texts), strict=True):
        assert chosen == line["predicted"]
        sets = {tuple(line["predicted"]): line["confidence"]} | {
            tuple(other["answer"]): other["probability"] for other in line["alternatives"]
        }
        for names, probability in sets.items():
            factors = [p if name in names else 1 - p for name, p in probabilities.items()]
            assert math.prod(factors) == pytest.approx(probability, abs=1e-4)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "Each label's head has a temperature of its own" in card and "| sport | 0 |" not in card

    assert run_command(["report", str(config), "--out", str(tmp_path / "report.html")]) == 0
    assert "micro-F1" in (tmp_path / "report.html").read_text()


def test_an_exported_language_model_chooses_the_sets_that_predict_does(
    tmp_path: Path, model: Path, star_al: StarAl
) -> None:
    write_jsonl(tmp_path / "pool.jsonl", rows_with_sets(30))
    config = write_campaign(
        tmp_path,
        task={"kind": "multi_label", "labels": list(WORDS)},
        learner={"kind": "lora"},
        model__name=str(model),
        acquisition={"batch_size": 4},
        stopping__max_rounds=1,
    )
    code, out, err = star_al("run", config)
    assert code == 0, (out, err)
    texts = [row["text"] for row in rows_with_sets(5, seed=9)]
    given = write_jsonl(tmp_path / "given.jsonl", [{"text": text} for text in texts])
    code, out, err = star_al("predict", config, "--in", given, "--out", "-", "--format", "jsonl")
    assert code == 0, err
    predicted = [json.loads(line) for line in out.splitlines()]
    code, out, err = star_al("export-model", config, "--out", tmp_path / "model")
    assert code == 0 and "averages over 2 posterior samples" in out, (out, err)
    for line, (chosen, probabilities) in zip(predicted, used(tmp_path / "model", texts), strict=True):
        assert chosen == line["predicted"]
        expected = {name: line[f"probability_{name}"] for name in WORDS}
        assert probabilities == pytest.approx(expected, abs=1e-3)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "labeller.choose(text)" in card and "Probabilities of sets of labels are scaled" in card


def test_a_label_that_is_added_is_told_of_and_the_report_goes_on(tmp_path: Path, star_al: StarAl) -> None:
    words = tuple(word for words in WORDS.values() for word in words)
    build_tiny_encoder(tmp_path / "encoder", words=words)
    write_jsonl(tmp_path / "pool.jsonl", rows_with_sets(60))
    settings: dict[str, Any] = {
        "learner": {"kind": "head"},
        "head": {"encoder": "encoder"},
        "acquisition": {"batch_size": 8},
        "annotator": {"kind": "api"},
        "evaluation": {"kind": "audit", "size": 10, "calibration": 0},
    }
    task = {"kind": "multi_label", "labels": list(WORDS)}
    config = write_campaign(tmp_path, task=task, stopping__max_rounds=1, **settings)
    audit, n = "", 0
    with Campaign.open(config, progress=Quiet()) as campaign:
        while questions := campaign.ask(20):
            for question in questions:
                audit = question.id if question.purpose == "audit" else audit
                assert question.fields is not None
                campaign.tell(question, set(cast("list[str]", question.fields["label"])))
                n += 1
        wrong: Any
        for wrong in (0.5, 3.0, {"sport": 0, "crash": 1}, ["sport", 1], np.int64(1)):
            with pytest.raises(DataError, match="is not one of the labels"):
                campaign.tell(audit, wrong)
    code, _, err = star_al("rename-label", config, "tech", "technology")
    assert code == 2 and "labels of task.kind: multi_label cannot be renamed" in err
    more = {"kind": "multi_label", "labels": [*WORDS, "arts"]}
    write_campaign(tmp_path, task=more, stopping__max_rounds=1, **settings)
    code, out, err = star_al("run", config)
    assert code == 0, (out, err)
    assert f"Labels added: arts; {n} texts labelled before count as not having it" in out + err
    with Campaign.open(config, progress=Quiet()) as campaign:
        campaign.tell(audit, {"arts": 1, "sport": 0})
    assert run_command(["report", str(config), "--out", str(tmp_path / "report.html")]) == 0
    code, out, err = star_al("status", config)
    assert code == 0, (out, err)


def test_labels_between_bars_and_settling_by_label(tmp_path: Path, star_al: StarAl) -> None:
    words = tuple(word for words in WORDS.values() for word in words)
    build_tiny_encoder(tmp_path / "encoder", words=words)
    rows = rows_with_sets(40)
    written = [{**row, "label": "|".join(row["label"]) or "none"} for row in rows]
    write_jsonl(tmp_path / "pool.jsonl", written)
    config = write_campaign(
        tmp_path,
        task={"kind": "multi_label", "labels": list(WORDS)},
        learner={"kind": "head"},
        head={"encoder": "encoder"},
        acquisition={"batch_size": 8},
        annotator={"kind": "oracle", "gold": "label"},
        labelling={"overlap": 3, "settle": "majority_by_label"},
        evaluation={"kind": "none", "calibration": 0},
        stopping__max_rounds=1,
    )
    code, out, err = star_al("run", config)
    assert code == 0, (out, err)
    code, out, err = star_al("export", config, "--out", "-", "--format", "jsonl")
    golds = {row["id"]: row["label"] for row in rows}
    labelled = [line for line in map(json.loads, out.splitlines()) if line["label"] is not None]
    assert len(labelled) == 8 and all(line["label"] == golds[line["id"]] for line in labelled)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"labelling": {"settle": "dawid_skene"}}, "labelling.settle: dawid_skene does not go with"),
        ({"acquisition": {"measure": "epig"}}, "acquisition.measure: epig does not go with"),
        ({"acquisition": {"scorer": "head"}}, "a head beside a language model does not go with"),
        ({"posterior": {"kind": "tfb"}}, "posterior.kind: tfb does not go with"),
    ],
)
def test_what_does_not_go_with_label_sets_is_refused(
    tmp_path: Path, star_al: StarAl, changes: dict[str, Any], complaint: str
) -> None:
    config = write_campaign(tmp_path, task={"kind": "multi_label", "labels": ["a", "b"]}, **changes)
    code, _, err = star_al("run", config)
    assert code == 2 and complaint in err
