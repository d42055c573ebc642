"""A small campaign with the demo's real model and real news learns, is recorded and can be replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from star_al.app import compose, demo, model_export, predicting, running
from star_al.app.model_choice import ModelChoice
from star_al.app.stores import reading
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile
from star_al.config.writing import with_values
from star_al.models.labeller import Labeller
from star_al.types import JsonObject
from support.quiet import Quiet

N_POOL, N_TEST = 60, 60


def test_a_real_model_learns_topics_of_news(tmp_path: Path) -> None:
    path = demo.prepare_demo(tmp_path, lambda line: None, demo.NEWS)
    lines = (
        (tmp_path / "test.jsonl").read_text().splitlines(keepends=True)
    )  # topics are rare in the demo's pool
    (tmp_path / "pool.jsonl").write_text("".join(lines[:N_POOL]))
    (tmp_path / "test.jsonl").write_text("".join(lines[N_POOL : N_POOL + N_TEST]))
    changes: JsonObject = {
        "learner": {"kind": "lora", "head": True},
        "acquisition.scorer": "learner",
        "adapter.min_steps": 20,
        "posterior": {"kind": "mc_dropout", "samples": 2},
        "evaluation.calibration": 10,
        "evaluation.stop_set": 10,
        "stopping": {"max_rounds": 1},
    }
    path.write_text(with_values(path.read_text(), changes))
    file = load_campaign(path)
    assert running.run(file, Quiet()).kind == "stopped"
    with reading(file) as (store, campaign):
        zero_shot, trained = store.history(campaign.campaign_id)
    assert float(str(trained["accuracy"])) >= max(0.7, float(str(zero_shot["accuracy"])) + 0.05), json.dumps(
        trained
    )
    assert float(str(trained["nll"])) < float(str(zero_shot["nll"]))
    assert running.replay(file, 0, Quiet()).same_batch
    _check_export(file, tmp_path)


def _check_export(file: CampaignFile, folder: Path) -> None:
    """The exported adapter predicts what the campaign does."""
    done = model_export.export_model(file, folder / "model", Quiet(), which=ModelChoice.LORA)
    assert done.samples == 2 and done.difference is not None
    texts = [json.loads(line)["text"] for line in (folder / "test.jsonl").read_text().splitlines()[:6]]
    with reading(file) as (store, campaign):
        parts = compose.open_parts(file, store, campaign, Quiet())
        rows = predicting.predict_rows(parts, [{"text": text} for text in texts], Quiet(), ModelChoice.LORA)
        labels = parts.task.spec.label_names
    labeller = Labeller(folder / "model", device="cpu")
    record = json.loads((folder / "model" / "labeller.json").read_text())
    # bfloat16 rounds at each layer, and other batches are summed in another order.
    limit = 1e-3 if record["dtype"] == "float32" else 5e-2
    for text, row in zip(texts, rows, strict=True):
        found = labeller(text)
        assert found == pytest.approx({name: row[f"probability_{name}"] for name in labels}, abs=limit)
