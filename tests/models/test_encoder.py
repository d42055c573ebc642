"""A sentence encoder gives a text one vector, reads long texts in windows, and refuses what it cannot use safely."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from star_al.acquire.embeddings import unit_vectors
from star_al.errors import ModelError, NotFiniteError, OutOfMemoryError
from star_al.models import fixed_batches
from star_al.models.encoder import SentenceEncoder, open_encoder
from star_al.models.windows import Windows
from support.tiny_encoder import DIMENSION, LIMIT, build_tiny_encoder
from support.tiny_model import SENTENCES, build_tiny_model

TEXTS = [*SENTENCES, "good", "bad news", "", "sport " * 20, "The bank raised interest rates. " * 3]
LONG = " ".join(f"{sentence} {number}" for number, sentence in enumerate(SENTENCES * 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_encoder(tmp_path_factory.mktemp("encoder"))


def opened(folder: Path, **settings: Any) -> SentenceEncoder:
    return open_encoder(str(folder), **{"dtype": "float32", "device": "cpu", **settings})


def reference(folder: Path, texts: list[str]) -> Any:
    """The mean over tokens as transformers alone computes it, one text at a time."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder)
    rows = []
    for text in texts:
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=LIMIT)
        with torch.no_grad():
            rows.append(model(**inputs).last_hidden_state[0].mean(dim=0).numpy())
    return np.stack(rows)


@pytest.mark.parametrize("sentence_transformers", [True, False])
def test_vectors_are_the_mean_over_tokens(tmp_path: Path, sentence_transformers: bool) -> None:
    folder = build_tiny_encoder(tmp_path, sentence_transformers=sentence_transformers)
    one, seen = opened(folder), list[int]()
    found = one.encode(TEXTS, seen.append)
    np.testing.assert_allclose(found.vectors_N_d, reference(folder, TEXTS), atol=2e-6)
    assert found.vectors_N_d.dtype == np.float32 and not found.cut_N.any() and sum(seen) == len(TEXTS)
    assert (one.dimension, one.max_tokens) == (DIMENSION, LIMIT)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_text_has_one_vector_whatever_is_encoded_with_it(folder: Path, dtype: str) -> None:
    one, texts = opened(folder, dtype=dtype), [*TEXTS, LONG]
    whole = one.encode(texts).vectors_N_d
    order = np.random.default_rng(0).permutation(len(texts))
    np.testing.assert_array_equal(one.encode([texts[n] for n in order]).vectors_N_d, whole[order])
    for number, text in enumerate(texts):
        np.testing.assert_array_equal(
            opened(folder, dtype=dtype).encode([text]).vectors_N_d[0], whole[number]
        )


def test_the_shape_of_a_batch_depends_on_its_length_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is why the vectors agree to the bit: one product of matrices has one shape."""
    shapes: dict[int, set[int]] = {}
    forward = SentenceEncoder._forward

    def watched(self: SentenceEncoder, texts: list[str], width: int) -> Any:
        shapes.setdefault(width, set()).add(len(texts))
        return forward(self, texts, width)

    monkeypatch.setattr(SentenceEncoder, "_forward", watched)
    for texts in (TEXTS, TEXTS[:3], TEXTS * 30):
        opened(folder).encode(texts)
    assert len(shapes) > 3 and all(len(rows) == 1 for rows in shapes.values())
    assert all(rows * width <= fixed_batches._BATCH_TOKENS["cpu"] for width, (rows,) in shapes.items())


def test_a_long_text_is_the_mean_of_its_windows(folder: Path) -> None:
    one = opened(folder)
    windows = one._windows.split([LONG])
    found = one.encode([LONG])
    assert len(windows.texts) > 2 and not found.cut_N[0]
    assert " ".join(windows.texts).split() == LONG.split()  # nothing is lost, and words stay whole
    assert windows.lengths.max() <= LIMIT and np.ptp(windows.lengths) < 16
    expected = one.encode(windows.texts).vectors_N_d.mean(axis=0)
    np.testing.assert_allclose(found.vectors_N_d[0], expected, atol=1e-6)


def test_a_book_is_cut_and_told(folder: Path) -> None:
    found = opened(folder).encode(["good", LONG * 50, "word" * 5000])
    assert found.cut_N.tolist() == [False, True, True]
    split = opened(folder)._windows.split([LONG * 50])
    assert len(split.texts) == 8 and (LONG * 50).startswith(split.texts[0])


def test_a_lower_limit_makes_more_windows_and_another_fingerprint(folder: Path) -> None:
    short, whole = opened(folder, max_tokens=16), opened(folder)
    assert short.max_tokens == 16 and short.fingerprint != whole.fingerprint
    assert len(short._windows.split([SENTENCES[0]]).texts) > len(whole._windows.split([SENTENCES[0]]).texts)
    assert opened(folder, max_tokens=10_000).max_tokens == LIMIT  # the network has no more positions


def test_windows_of_one_word_without_spaces(folder: Path) -> None:
    windows = Windows(opened(folder)._model.tokenizer, "", 16, 8)
    split = windows.split(["sport" * 40])
    assert "".join(split.texts) == "sport" * 40 and split.lengths.max() <= 16


def test_the_fingerprint_is_of_weights_tokenizer_and_pooling(folder: Path, tmp_path: Path) -> None:
    first = opened(folder).fingerprint
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert opened(copy).fingerprint == first
    (copy / "README.md").write_text("a note")
    assert opened(copy).fingerprint == first
    for name in ("tokenizer.json", "1_Pooling/config.json", "model.safetensors"):
        before = opened(copy).fingerprint
        with (copy / name).open("ab") as file:
            file.write(b" ")
        assert opened(copy).fingerprint != before
    assert opened(folder, dtype="bfloat16").fingerprint != first
    assert opened(build_tiny_encoder(tmp_path / "other", seed=1)).fingerprint != first


def test_the_library_s_prompt_is_put_before_each_text(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "e")
    settings = {"prompts": {"query": "Question: "}, "default_prompt_name": "query"}
    (tmp_path / "e" / "config_sentence_transformers.json").write_text(json.dumps(settings))
    found = opened(tmp_path / "e").encode(["good news"]).vectors_N_d
    np.testing.assert_allclose(found, reference(folder, ["Question: good news"]), atol=2e-6)


def test_static_embeddings_are_encoders_too(tmp_path: Path) -> None:
    """Such models have neither a transformer nor a limit, and their tokenizer is not one of transformers."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = opened(build_tiny_encoder(tmp_path / "words"))._model.tokenizer
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)]).save_pretrained(
        str(tmp_path / "e")
    )
    one, texts = opened(tmp_path / "e"), ["good news", "sport " * 2000, ""]
    found = one.encode(texts).vectors_N_d
    assert found.shape == (3, 8)
    np.testing.assert_array_equal(one.encode(texts[:1]).vectors_N_d[0], found[0])
    np.testing.assert_allclose(found[1], one.encode(["sport"]).vectors_N_d[0], rtol=1e-4)


def test_a_tokenizer_without_positions_reads_the_beginning(folder: Path) -> None:
    tokenizer = opened(folder)._model.tokenizer

    class Slow:
        is_fast = False

        def __call__(self, text: str) -> Any:
            return tokenizer(text)

    split = Windows(Slow(), "", 16, 8).split(["good", "sport " * 40])
    assert split.texts == ["good", "sport " * 40] and split.cut.tolist() == [False, True]
    assert split.lengths.max() == 16


def test_a_batch_that_does_not_fit_is_halved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, sizes = SentenceEncoder._read, list[int]()

    def small(self: SentenceEncoder, texts: list[str], width: int) -> Any:
        sizes.append(len(texts))
        if len(texts) > 4:
            raise RuntimeError("DefaultCPUAllocator: not enough memory")
        return read(self, texts, width)

    expected = opened(folder).encode(TEXTS).vectors_N_d
    monkeypatch.setattr(SentenceEncoder, "_read", small)
    np.testing.assert_allclose(opened(folder).encode(TEXTS).vectors_N_d, expected, atol=2e-6)
    assert min(sizes) <= 4 < max(sizes)
    monkeypatch.setattr(SentenceEncoder, "_read", lambda *_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(
        OutOfMemoryError, match=r"does not fit into the memory of cpu\. Lower head.max_tokens"
    ):
        opened(folder).encode(TEXTS)


# -- what cannot be used -----------------------------------------------------------------------------------


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no such folder.*Set head.encoder to a sentence encoder"):
        open_encoder(str(tmp_path / "none"))


def test_a_language_model_is_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"LlamaForCausalLM is a language model.*head.features: model"):
        open_encoder(str(build_tiny_model(tmp_path)))


def test_only_safetensors_are_loaded(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "e")
    (tmp_path / "e" / "model.safetensors").rename(tmp_path / "e" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only \.bin weights, which can run code"):
        opened(tmp_path / "e")


def test_a_part_with_bin_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "e")
    (tmp_path / "e" / "2_Dense").mkdir()
    (tmp_path / "e" / "2_Dense" / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match=r"2_Dense/pytorch_model\.bin: \.bin weights can run code"):
        opened(tmp_path / "e")


def test_code_of_the_model_is_not_run(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "e")
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "custom_st.Transformer"
    (tmp_path / "e" / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "e" / "custom_st.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match=r"names custom_st.Transformer, which would run code"):
        opened(tmp_path / "e")


@pytest.mark.parametrize("content", [b"", b"not weights"])
def test_damaged_weights(folder: Path, tmp_path: Path, content: bytes) -> None:
    shutil.copytree(folder, tmp_path / "e")
    (tmp_path / "e" / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="the encoder cannot be loaded"):
        opened(tmp_path / "e").check()


def test_a_folder_without_an_encoder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"neither modules\.json nor config\.json"):
        opened(tmp_path)


def test_numbers_that_are_none_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = SentenceEncoder._forward

    def broken(self: SentenceEncoder, texts: list[str], width: int) -> Any:
        rows = forward(self, texts, width)
        return np.where([[text == "bad"] for text in texts], np.nan, rows)

    monkeypatch.setattr(SentenceEncoder, "_forward", broken)
    with pytest.raises(NotFiniteError, match="NaN for the text 'bad'"):
        opened(folder).encode(["good", "bad"])


def test_no_texts_give_no_rows(folder: Path) -> None:
    assert opened(folder).encode([]).vectors_N_d.shape == (0, DIMENSION)


def test_unit_vectors() -> None:
    rows = unit_vectors(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(rows, np.array([[0.6, 0.8], [0, 0]]), rtol=1e-6)
    assert rows.dtype == np.float32
