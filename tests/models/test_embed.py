"""Embeddings are the last hidden state at the prompt's end, as transformers computes it, at each posterior's mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from star_al.errors import ModelError
from star_al.models.encoded import Encoded
from star_al.models.learner import LoraLearner
from star_al.models.prompts import Prompt
from star_al.models.states import LanguageModelStates
from star_al.ports import Advance
from star_al.types import Item
from support.posteriors import EVERY, fit, ignore, items, learner, predict
from support.tiny_model import ARCHITECTURES, build_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_model(tmp_path_factory.mktemp("model"))


def plain(one: LoraLearner, item: Item) -> Any:
    """Final hidden state of one prompt in the plain model, after its last norm."""
    tokens = torch.tensor([one.prompts.encode(item).tokens])
    with torch.no_grad():
        out = one.backbone.model(input_ids=tokens, output_hidden_states=True, use_cache=False)
    return out.hidden_states[-1][0, -1].numpy()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_base_embeddings_are_those_of_a_plain_forward_pass(tmp_path: Path, architecture: str) -> None:
    one = learner(build_tiny_model(tmp_path, architecture=architecture), EVERY["map"])
    seen: list[int] = []
    found = one.embed(None, items(), seen.append)
    assert found.shape == (8, 32) and found.dtype == np.float32
    np.testing.assert_allclose(found, [plain(one, item) for item in items()], atol=1e-4)
    assert sum(seen) == 8
    assert np.abs(found - found[0])[1:].max(axis=1).min() > 0.01


def test_the_answers_follow_from_the_embeddings(model: Path) -> None:
    """The head's rows of single-token labels, times the embedding, are the model's label scores."""
    one = learner(model, EVERY["map"], task={"kind": "classification", "labels": ["A", "B", "C"]})
    tokens = [label for (label,) in one.prompts.encode(items(1)[0]).labels]
    head = one.backbone.readout.head.weight.detach().numpy()[tokens]
    logits = one.embed(None, items(), ignore) @ head.T
    expected = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    np.testing.assert_allclose(predict(one, None)[:, 0], expected, atol=1e-4)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_adapted_embeddings_are_the_posterior_means_and_the_model_stays(
    name: str, model: Path, tmp_path: Path
) -> None:
    one = learner(model, EVERY[name])
    base = one.embed(None, items(), ignore)
    folder = fit(one, tmp_path / "a")
    adapted = one.embed(folder, items(), ignore)
    assert np.abs(adapted - base).max() > 1e-3
    np.testing.assert_array_equal(one.embed(folder, items(), ignore), adapted)
    np.testing.assert_array_equal(one.embed(None, items(), ignore), base)
    small = learner(model, EVERY[name], model={"batch_tokens": 64})
    np.testing.assert_allclose(small.embed(folder, items()[::-1], ignore)[::-1], adapted, atol=1e-4)


def test_a_frozen_trunk_gives_the_same(model: Path) -> None:
    whole, started = learner(model, EVERY["map"]), learner(model, EVERY["map"], adapter={"layers": 1})
    np.testing.assert_allclose(
        started.embed(None, items(), ignore), whole.embed(None, items(), ignore), atol=1e-4
    )


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the texts that the base model reads from now on."""
    read: list[str] = []
    encode = LanguageModelStates.encode

    def count(self: LanguageModelStates, prompts: Sequence[Prompt], advance: Advance) -> Encoded:
        read.extend(prompt.item_id for prompt in prompts)
        return encode(self, prompts, advance)

    monkeypatch.setattr(LanguageModelStates, "encode", count)
    return read


def test_the_base_model_reads_a_text_once_in_all_processes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, ids = counted(monkeypatch), [item.item_id for item in items()]
    seen: list[int] = []
    one, other = (learner(model, EVERY["map"], features=tmp_path / "features") for _ in range(2))
    few = one.embed(None, items()[5:], ignore)
    whole = other.embed(None, items(), seen.append)
    np.testing.assert_array_equal(whole[5:], few)
    assert sorted(read) == sorted(ids) and sum(seen) == len(ids)
    assert learner(model, EVERY["map"]).embed(None, items()[:1], ignore).flags.writeable
    adapted = one.embed(fit(one, tmp_path / "a"), items(), ignore)
    assert np.abs(adapted - whole).max() > 1e-3  # those of an adapter are its own


def test_an_embedding_of_the_base_model_is_the_same_to_the_bit_whatever_is_embedded_with_it(
    model: Path, tmp_path: Path
) -> None:
    kept = learner(model, EVERY["map"], features=tmp_path / "features").embed(None, items(), ignore)
    alone = [learner(model, EVERY["map"]).embed(None, [item], ignore)[0] for item in items()[::3]]
    np.testing.assert_array_equal(alone, kept[::3])


def test_a_campaign_that_began_with_packed_embeddings_keeps_them(model: Path, tmp_path: Path) -> None:
    now = learner(model, EVERY["map"], features=tmp_path / "features")
    earlier = learner(
        model, EVERY["map"], features=tmp_path / "features", packs_base_embeddings=True, dtype="bfloat16"
    )
    assert "base_embeddings" in now.versions() and "base_embeddings" not in earlier.versions()
    packed = earlier.model.inference.embeddings(earlier.model.encode(items()), None, ignore)
    np.testing.assert_array_equal(earlier.embed(None, items(), ignore), packed)
    assert not (tmp_path / "features").exists()


def test_no_items_give_no_rows_and_numbers_that_are_none_are_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = learner(model, EVERY["map"])
    assert one.embed(None, [], ignore).shape == (0, 32)
    hidden = type(one.backbone.readout).hidden

    def broken(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return hidden(self, *args, **kwargs) * torch.nan

    monkeypatch.setattr(type(one.backbone.readout), "hidden", broken)
    with pytest.raises(ModelError, match="NaN for item id00"):
        one.embed(None, items(), ignore)
