"""Examples to train on are read by TRL, and say what star_al's own training says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from transformers import AutoTokenizer
from trl.data_utils import apply_chat_template, is_conversational

from star_al.app.stores import open_started
from star_al.config.file import load_campaign
from star_al.models.prompts import PromptFormat
from star_al.task import make_task
from star_al.types import Role

StarAl = Callable[..., tuple[int, str, str]]


def loaded(path: Path, cache: Path) -> Any:
    return load_dataset("json", data_files=str(path), split="train", cache_dir=str(cache))


def test_sft_examples_are_what_the_model_is_trained_on(
    star_al: StarAl, own_copy: Path, tmp_path: Path
) -> None:
    config, out = own_copy / "campaign.yaml", tmp_path / "train.jsonl"
    code, said, err = star_al("export", config, "--out", out, "--format", "sft")
    assert code == 0, err
    file = load_campaign(config)
    with open_started(file) as store:
        campaign = store.find_campaign(file.spec.name)
        assert campaign is not None
        labels = store.labels(campaign.campaign_id)
        held_out = {
            item_id
            for role in (Role.AUDIT, Role.CALIBRATION)
            for item_id in store.item_ids(campaign.campaign_id, role)
        }
        learned = [item_id for item_id in labels if item_id not in held_out]
        items = store.items(campaign.campaign_id, learned)
    rows = loaded(out, tmp_path)
    assert rows.column_names == ["prompt", "completion"] and is_conversational(rows[0])
    assert said.startswith(f"Wrote {len(items)} examples to {out}.\n")
    assert f"{len(labels) - len(items)} held-out texts with a label left out" in said
    tokenizer = AutoTokenizer.from_pretrained(str(own_copy.parent / "model"))
    written = {tuple(apply_chat_template(row, tokenizer).values()) for row in rows}
    task = make_task(file.spec.task)
    prompts = PromptFormat(tokenizer, task, max_tokens=512, context=1024)
    expected = set()
    for item in items:
        value = labels[item.item_id].value
        ids = prompts.encode(item).tokens
        expected.add((tokenizer.decode(list(ids)), task.spell(item, value)))
    assert {prompt for prompt, _ in written} == {prompt for prompt, _ in expected}
    assert all(any(p == q and c.startswith(a) for q, a in expected) for p, c in written)


def test_dpo_examples_reject_what_was_wrong(star_al: StarAl, own_copy: Path, tmp_path: Path) -> None:
    code, said, err = star_al("export", own_copy / "campaign.yaml", "--out", "-", "--format", "dpo")
    assert code == 0, err
    assert "example" in err and "without an answer to reject" in err
    out = tmp_path / "pairs.jsonl"
    out.write_text(said, encoding="utf-8")
    rows = loaded(out, tmp_path)
    assert rows.column_names == ["prompt", "chosen", "rejected"] and is_conversational(rows[0])
    assert all(row["chosen"] != row["rejected"] for row in rows)
    tokenizer = AutoTokenizer.from_pretrained(str(own_copy.parent / "model"))
    made = apply_chat_template(rows[0], tokenizer)
    assert set(made) == {"prompt", "chosen", "rejected"} and made["chosen"] != made["rejected"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "x.csv", "--format", "sft"), "Write to a file that ends in .jsonl"),
        (("--out", "x.jsonl", "--format", "dpo", "--answers"), "dpo goes with --out alone"),
        (("--push", "me/x", "--format", "sft"), "sft goes with --out alone"),
    ],
)
def test_what_does_not_go_with_examples(
    star_al: StarAl, own_copy: Path, options: tuple[str, ...], message: str
) -> None:
    code, _, err = star_al("export", own_copy / "campaign.yaml", *options)
    assert code == 2 and message in " ".join(err.split())
