"""Names that tell an encoder nothing, where the encoder is on this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from star_al.app.init.names import unclear_here
from star_al.models.encoded import Encoded
from support.tiny_encoder import build_tiny_encoder

TEXTS = ["a sport text", "a trade text"] * 30


class TopicEncoder:
    """Encodes topics as directions, and everything else as a direction of its own."""

    def encode(self, texts: list[str]) -> Encoded:
        vectors = [[("sport" in text) + 0.0, ("trade" in text) + 0.0, 0.1] for text in texts]
        return Encoded(np.array(vectors, dtype=np.float32), np.zeros(len(texts), dtype=bool))


def test_names_that_no_text_is_close_to_tell_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("star_al.models.encoder.open_encoder", lambda name: TopicEncoder())
    assert unclear_here(["ham", "spam"], TEXTS, str(tmp_path)) == ["ham", "spam"]
    assert unclear_here(["sport", "trade"], TEXTS, str(tmp_path)) == []
    assert unclear_here(["sport", "trade", "7"], TEXTS, str(tmp_path)) == ["7"]


def test_a_real_encoder_is_asked(tmp_path: Path) -> None:
    encoder = build_tiny_encoder(tmp_path / "encoder")
    assert set(unclear_here(["sport", "trade", "7"], TEXTS, str(encoder))) >= {"7"}


def test_without_the_encoder_the_form_of_names_decides(tmp_path: Path) -> None:
    assert unclear_here(["ham", "7"], TEXTS, "org/encoder") == ["7"]
    assert unclear_here(["ham", "7"], TEXTS, str(tmp_path)) == ["7"]  # an empty folder
