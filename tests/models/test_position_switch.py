"""Models that read a text in another way if a longer one is beside it are refused at the check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from star_al.errors import ModelError
from star_al.models.readout import Readout
from star_al.types import Item
from support.posteriors import EVERY, items, learner
from support.small_models import save_small_model, small_config

LONG_ROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0] * 4,
    "long_factor": [1.5, 2.0, 3.0, 4.0],
    "original_max_position_embeddings": 128,
    "rope_theta": 10000.0,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "rope_theta": 10000.0}


def model(folder: Path, name: str, **settings: Any) -> Path:
    return save_small_model(folder, small_config(name, vocab_size=480, **settings))


def with_limit(folder: Path, max_tokens: int) -> Any:
    return learner(folder, EVERY["map"], model={"max_tokens": max_tokens})


@pytest.mark.parametrize("long_texts", [True, False])
def test_rotary_factors_for_long_texts(long_texts: bool, tmp_path: Path) -> None:
    folder = model(tmp_path / "m", "Phi3", rope_parameters=LONG_ROPE, original_max_position_embeddings=128)
    texts = [Item("a", "final " * 200)] if long_texts else items()
    with pytest.raises(
        ModelError, match=r"of more than 128 tokens .* Set model\.max_tokens to (\d+) or less"
    ) as caught:
        with_limit(folder, 200).check(texts)
    advised = int(str(caught.value).split("max_tokens to ")[1].split()[0])
    with_limit(folder, advised).check(texts)


def test_a_switch_that_the_configuration_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model(tmp_path / "m", "Phi3", rope_parameters=LONG_ROPE, original_max_position_embeddings=128)
    monkeypatch.setattr("star_al.models.position_switch._NAME", "another_name")
    with_limit(folder, 200).check(items())
    with pytest.raises(ModelError, match=r"otherwise than that of a short one\. Lower model\.max_tokens"):
        with_limit(folder, 200).check([Item("a", "final " * 200)])


def test_factors_that_do_not_change_are_no_fault(tmp_path: Path) -> None:
    with_limit(model(tmp_path / "m", "Llama", rope_parameters=YARN), 200).check([Item("a", "final " * 200)])


def test_a_length_that_a_model_cannot_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some recurrent models take multiples of a chunk alone, and end with an error of their own otherwise."""
    real = Readout.hidden

    def hidden(readout: Readout, ids: torch.Tensor, *more: Any, **settings: Any) -> torch.Tensor:
        if ids.shape[1] > 100:
            raise RuntimeError("shape '[1, 3, 64]' is invalid\nand more")
        return real(readout, ids, *more, **settings)

    one = with_limit(model(tmp_path / "m", "Llama"), 200)
    _ = one.backbone.readout
    monkeypatch.setattr(Readout, "hidden", hidden)
    with pytest.raises(
        ModelError, match=r"LlamaModel cannot read \d+ tokens: RuntimeError: shape .* is invalid\. "
    ):
        one.check([Item("a", "final " * 200)])
