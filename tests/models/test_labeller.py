"""The labeller of an exported model reads texts as the campaign does, whatever the tokenizer and the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers

from star_al.config.spec import task_spec
from star_al.errors import ModelError
from star_al.models.adapter_export import write_record
from star_al.models.labeller import Labeller
from star_al.models.labeller.prompt import PromptReader
from star_al.models.prompts import PromptFormat
from star_al.task import make_task
from star_al.types import Item, JsonObject
from support.kinds_of_tokenizer import KINDS
from support.posteriors import LABELS, ignore, learner
from support.tiny_model import build_tiny_model, build_tokenizer

TEXTS = (
    "The team won 3 cups.",
    " led by a space",
    "</s><s> a <|im_end|> b",
    "two\nlines\n",
    "",
    "word " * 300,
)
CHOICES = tuple(Item(f"{n}", text, options=("yes, it is", "yes", "no ")) for n, text in enumerate(TEXTS))
TASKS: dict[str, dict[str, Any]] = {
    "labels": {"kind": "classification", "labels": LABELS},
    "template": {"kind": "classification", "labels": LABELS, "template": "{labels}? {text} Answer: "},
    "letters": {"kind": "multiple_choice"},
    "options": {"kind": "multiple_choice", "answer": "text"},
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["chat", *KINDS])
def test_ids_are_those_of_the_campaign(kind: str, task: str, tmp_path: Path) -> None:
    tokenizer = build_tokenizer() if kind == "chat" else KINDS[kind]()
    form = PromptFormat(tokenizer, make_task(task_spec(TASKS[task])), max_tokens=200, context=210)
    read = tokenizer
    if tokenizer.is_fast:  # a slow one is a class of these tests, which transformers does not know
        tokenizer.save_pretrained(tmp_path)
        read = transformers.AutoTokenizer.from_pretrained(tmp_path)
    reader = PromptReader(read, json.loads(json.dumps(form.record())))
    for item in CHOICES:
        if TASKS[task]["kind"] == "classification":
            item = Item(item.item_id, item.text)
        if not tokenizer.eos_token and task == "options":
            with pytest.raises(ModelError, match="no token that ends an answer"):
                reader.read(item.text, item.options)
            item = Item(item.item_id, item.text, options=("yes", "no"))
        found, expected = reader.read(item.text, item.options), form.encode(item)
        assert found.text == expected.text
        assert (found.tokens, found.labels) == (expected.tokens, expected.labels), item.text


def test_options_must_fit_the_model(tmp_path: Path) -> None:
    choice, labels = (
        PromptReader(
            build_tokenizer(),
            PromptFormat(
                build_tokenizer(),
                make_task(task_spec(TASKS[task])),
                max_tokens=200,
                context=210,
            ).record(),
        )
        for task in ("letters", "labels")
    )
    for reader, options, message in (
        (choice, (), "give the options"),
        (labels, ("a", "b"), "takes no options"),
        (choice, ("a",), "too few or too many"),
        (choice, ("long " * 300, "b"), "tokens too long"),
    ):
        with pytest.raises(ModelError, match=message):
            reader.read("text", options)


def test_a_base_that_the_campaign_quantises_is_quantised_by_the_labeller(tmp_path: Path) -> None:
    build_tiny_model(tmp_path / "model")
    one = learner(tmp_path / "model", task=TASKS["labels"], model={"quantise": "4bit"})
    items = [Item(item.item_id, item.text) for item in CHOICES]
    (tmp_path / "fitted").mkdir()
    (tmp_path / "out").mkdir()
    one.fit(
        [(item, LABELS[0]) for item in items], seed=0, folder=tmp_path / "fitted", parent=None, advance=ignore
    )
    record = one.export(
        tmp_path / "fitted", tmp_path / "out", draws=None, seed=0, merged=False, examples=items
    )
    write_record(tmp_path / "out", {"labels": list(LABELS), "temperature": 1.0, **record})
    expected = one.predict(tmp_path / "fitted", items, draws=None, seed=0, advance=ignore).log_probs_N_K_C
    labeller = Labeller(tmp_path / "out", device="cpu")
    found = np.array([list(labeller(item.text).values()) for item in items])
    np.testing.assert_allclose(found, np.exp(expected[:, 0]), atol=1e-4)
    assert "bitsandbytes" in str(record["needs"])


@pytest.mark.parametrize("merged", [False, True], ids=["adapter", "merged"])
@pytest.mark.parametrize(
    ("task", "dtype", "output"),
    [
        ("letters", "float32", "label_names"),
        ("options", "float32", "label_names"),
        ("labels", "bfloat16", "label_names"),
        ("labels", "float32", "classifier"),
        ("labels", "bfloat16", "classifier"),
    ],
)
def test_probabilities_are_those_of_the_learner(
    task: str, dtype: str, output: str, merged: bool, tmp_path: Path
) -> None:
    build_tiny_model(tmp_path / "model")
    choice = TASKS[task]["kind"] == "multiple_choice"
    one = learner(
        tmp_path / "model",
        {"kind": "mc_dropout", "samples": 2},
        dtype=dtype,
        task=TASKS[task],
        adapter={"output": output},
        data={"path": "x", "options": "o"} if choice else {"path": "x"},
    )
    items = [item if choice else Item(item.item_id, item.text) for item in CHOICES]
    (tmp_path / "fitted").mkdir()
    answers = ["A", "B", "C"] if choice else list(LABELS)
    examples = [(item, answers[n % 3]) for n, item in enumerate(items)]
    one.fit(examples, seed=0, folder=tmp_path / "fitted", parent=None, advance=ignore)
    out = tmp_path / "out"
    out.mkdir()
    record: JsonObject = one.export(
        tmp_path / "fitted", out, draws=range(2), seed=3, merged=merged, examples=items
    )
    names = [] if choice else list(LABELS)
    write_record(out, {"labels": names, "temperature": 1.0, **record})
    log_probs = one.predict(
        tmp_path / "fitted", items, draws=range(2), seed=3, advance=ignore
    ).log_probs_N_K_C
    labeller = Labeller(out, device="cpu")
    row = {"title": items[0].text, "body": None}
    record_of_rows = json.loads((out / "labeller.json").read_text()) | {
        "text": "{title}{body}",
        "columns": {"title": "title", "body": "body"},
    }
    labeller._record = record_of_rows
    assert labeller(row, items[0].options) == labeller(items[0].text, items[0].options)
    found = np.array([list(labeller(item.text, item.options).values()) for item in items])
    # bfloat16 rounds at every layer, and batches of other sizes are summed in another order.
    np.testing.assert_allclose(
        found, np.exp(log_probs).mean(axis=1), atol=1e-4 if dtype == "float32" else 2e-2
    )
