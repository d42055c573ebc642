"""Features from the language model are hidden states as transformers computes them, of the text's own tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from star_al.errors import NotFiniteError
from star_al.models.learner import LoraLearner
from star_al.models.states import pair_items
from star_al.types import Item
from support.posteriors import EVERY, fit, ignore, items, learner
from support.tiny_model import ARCHITECTURES, build_tiny_model

CHOICE = {"kind": "multiple_choice", "labels": []}
QUESTIONS = [
    Item(item_id="q1", text="The team won the cup.", options=("sport", "politics", "tech")),
    Item(item_id="q2", text="The bank raised rates.", options=("business", "sport")),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def plain(one: LoraLearner, prompt: Any) -> Any:
    """The features of one prompt by a plain forward pass of the first block and of all."""
    tokens = torch.tensor([prompt.tokens])
    with torch.no_grad():
        out = one.backbone.model(input_ids=tokens, output_hidden_states=True, use_cache=False)
    first, last = out.hidden_states[1][0].numpy(), out.hidden_states[-1][0].numpy()
    start, end = prompt.text
    return np.concatenate([first[start:end].mean(axis=0), last[start:end].mean(axis=0), last[-1]])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_states_are_those_of_a_plain_forward_pass(tmp_path: Path, architecture: str) -> None:
    one, seen = learner(build_tiny_model(tmp_path, architecture=architecture), EVERY["map"]), list[int]()
    found = one.states(items(), seen.append)
    expected = [plain(one, one.prompts.encode(item)) for item in items()]
    assert found.vectors_N_d.shape == (8, 96) and not found.cut_N.any() and sum(seen) == 8
    np.testing.assert_allclose(found.vectors_N_d, expected, atol=1e-4)


def test_the_text_is_where_the_prompt_says(model: Path) -> None:
    one = learner(model, EVERY["map"])
    for item in items():
        prompt = one.prompts.encode(item)
        start, end = prompt.text
        assert one.backbone.tokenizer.decode(prompt.tokens[start:end]).strip() == item.text.strip()


def test_states_are_the_same_bits_in_any_company(model: Path) -> None:
    one = learner(model, EVERY["map"], model={"dtype": "bfloat16"})
    whole = one.states(items(), ignore).vectors_N_d
    np.testing.assert_array_equal(one.states(items()[::-1], ignore).vectors_N_d[::-1], whole)
    for number, item in enumerate(items()):
        np.testing.assert_array_equal(one.states([item], ignore).vectors_N_d[0], whole[number])


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_a_long_prefix_is_read_once(
    tmp_path: Path, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompt of many labels is longer than the texts, and the same for all."""
    labels = [f"label of number {number}" for number in range(12)]
    one = learner(
        build_tiny_model(tmp_path, architecture=architecture),
        EVERY["map"],
        task={"kind": "classification", "labels": labels},
        model={"max_tokens": 240},
    )
    prefix = len(one.prompts.prefix)
    assert prefix > 100 and one.backbone.readout.supports_prefix
    hidden, read = type(one.backbone.readout).hidden, list[int]()

    def watched(self: Any, ids: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        read.append(ids.shape[1])
        return hidden(self, ids, *args, **kwargs)

    monkeypatch.setattr(type(one.backbone.readout), "hidden", watched)
    found = one.states(items(), ignore).vectors_N_d
    expected = [plain(one, one.prompts.encode(item)) for item in items()]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert max(read[-2:]) < prefix
    np.testing.assert_array_equal(one.states(items()[3:4], ignore).vectors_N_d[0], found[3])


@pytest.mark.parametrize("layers", [None, 1])
def test_training_does_not_change_them(model: Path, tmp_path: Path, layers: int | None) -> None:
    """Also where the frozen blocks' activations are kept: the whole model runs."""
    one = learner(model, EVERY["map"], adapter={"layers": layers})
    before = one.states(items(), ignore).vectors_N_d
    fit(one, tmp_path / "a")
    np.testing.assert_array_equal(one.states(items(), ignore).vectors_N_d, before)


def test_options_have_a_row_each(model: Path) -> None:
    one = learner(model, EVERY["map"], task=CHOICE, data={"path": "pool.jsonl", "options": "options"})
    found = one.states(QUESTIONS, ignore).vectors_N_d
    assert found.shape == (5, 96)
    pairs = [pair for item in QUESTIONS for pair in pair_items(item)]
    np.testing.assert_allclose(
        found, [plain(one, one._frozen.states_prompts.encode(pair)) for pair in pairs], atol=1e-4
    )
    np.testing.assert_array_equal(one.states(QUESTIONS[1:], ignore).vectors_N_d, found[3:])
    assert np.abs(found[1:] - found[:-1]).max(axis=1).min() > 0.01


def test_a_text_that_is_cut_is_told(model: Path) -> None:
    one = learner(model, EVERY["map"])
    long = Item(item_id="long", text="sport " * 400)
    found = one.states([items()[0], long, Item(item_id="empty", text="")], ignore)
    assert found.cut_N.tolist() == [False, True, False] and one.truncated == 1
    assert np.isfinite(found.vectors_N_d).all()


def test_the_key_names_model_prompt_and_dtype(model: Path, tmp_path: Path) -> None:
    first = learner(model, EVERY["map"]).states_key
    assert learner(model, EVERY["tfb"]).states_key == first
    others = [
        learner(model, EVERY["map"], model={"dtype": "bfloat16"}),
        learner(model, EVERY["map"], task={"kind": "classification", "labels": ["A", "B"]}),
        learner(build_tiny_model(tmp_path, seed=1), EVERY["map"]),
    ]
    assert first not in {other.states_key for other in others}


def test_numbers_that_are_none_are_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = learner(model, EVERY["map"])
    hidden = type(one.backbone.readout).hidden

    def broken(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return hidden(self, *args, **kwargs) * torch.nan

    monkeypatch.setattr(type(one.backbone.readout), "hidden", broken)
    with pytest.raises(NotFiniteError, match="NaN for item id00"):
        one.states(items(), ignore)
