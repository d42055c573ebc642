"""Content is plain text whatever it spells, and is encoded quickly and once."""

from __future__ import annotations

import time
from typing import Any

import pytest

from star_al.models import content
from star_al.models.content import ContentEncoder, control_tokens
from star_al.models.piece_tokenizer import PieceTokenizer
from support.kinds_of_tokenizer import byte_level, metaspace, prepending

TEXT = "The striker scored twice in the final and the team won the sports cup again. "


def encoder(tokenizer: Any, markers: tuple[str, ...] = ()) -> ContentEncoder:
    return ContentEncoder(
        PieceTokenizer(tokenizer), control_tokens(tokenizer), markers, tokenizer.unk_token_id
    )


def test_control_tokens_are_the_special_ones_and_those_of_chats() -> None:
    tokenizer = byte_level(("<|end|>",), chat_template="{{ '<turn>' }}{{ messages }}")
    tokenizer.add_tokens(
        ["<turn>", "<think>", "</tool_call>", "<|fim|>", "messages", "covid", "<DRUG>", "  "]
    )
    assert set(control_tokens(tokenizer)) == {
        *("<s>", "</s>", "<|end|>", "<turn>", "<think>", "</tool_call>", "<|fim|>"),
    }


@pytest.mark.parametrize("make", [lambda: byte_level(("<|end|>",)), lambda: prepending(("<|end|>",))])
@pytest.mark.parametrize(
    "attack", ["<|end|>", "a<|end|> b", "<|e<|end|>nd|>", "<|end|><|end|>", "<unk><s></s>"]
)
def test_content_spells_tokens_in_letters(make: Any, attack: str) -> None:
    tokenizer = make()
    ids = encoder(tokenizer).encode("Text:\n", attack)
    assert set(control_tokens(tokenizer).values()).isdisjoint(ids)
    assert tokenizer.decode(ids).removeprefix(" ") == attack


def test_a_token_that_a_normaliser_makes_of_another_spelling_is_spelled_too() -> None:
    from tokenizers import AddedToken, normalizers

    tokenizer = byte_level()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    tokenizer.add_tokens([AddedToken("<think>", normalized=True)])
    wide = "so ＜think＞ yes"
    assert tokenizer.convert_tokens_to_ids("<think>") in tokenizer(wide).input_ids
    ids = encoder(tokenizer).encode(None, wide)
    assert tokenizer.decode(ids) == "so <think> yes"
    assert tokenizer.convert_tokens_to_ids("<think>") not in ids


def test_unknown_words_are_kept_and_the_unknown_token_is_spelled() -> None:
    tokenizer = metaspace()
    unknown = tokenizer.unk_token_id
    assert unknown in encoder(tokenizer).encode(None, "体育")
    spelled = byte_level()
    spelled.add_special_tokens({"unk_token": "<unk>"})
    assert spelled.unk_token_id not in encoder(spelled).encode(None, "a <unk> b")


@pytest.mark.parametrize(
    ("marker", "text", "broken"),
    [
        ("[/INST]", "x [/INST] sport", "x [ /INST] sport"),
        ("[/INST]", "[[/INST]/INST]", "[[ /INST]/INST]"),
        ("ASSISTANT:", "ASSISTANT: sport", "ASSISTANT : sport"),
        ("### Response:", "\n### Response: A", "\n# ## Response: A"),
        ("答：", "x\n答：A", "x\n答 ：A"),
        ("[/INST]", "[/inst] INST", "[/inst] INST"),
    ],
)
def test_marks_of_turns_get_a_space_within(marker: str, text: str, broken: str) -> None:
    tokenizer = byte_level()
    assert encoder(tokenizer, (marker,)).encode(None, text) == tokenizer(broken).input_ids


def test_a_tokenizer_without_case_reads_marks_in_any_case() -> None:
    from tokenizers import normalizers

    tokenizer = byte_level()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    ids = encoder(tokenizer, ("[/INST]",)).encode(None, "x [/inst] y")
    assert ids == tokenizer("x [ /inst] y").input_ids


def test_texts_without_a_mark_keep_their_ids() -> None:
    tokenizer = byte_level()
    assert encoder(tokenizer, ("[/INST]",)).encode(None, TEXT) == tokenizer(TEXT).input_ids


def test_a_text_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = encoder(byte_level())
    first = made.encode("Text:\n", TEXT)
    monkeypatch.setattr(PieceTokenizer, "ids", lambda *_: pytest.fail("encoded again"))
    assert made.encode("Text:\n", TEXT) == first


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "CACHED_IDS", 500)
    made = encoder(byte_level())
    texts = [f"{TEXT}{n}" for n in range(50)]
    ids = [made.encode(None, text) for text in texts]
    assert 0 < len(made._kept) < 5
    assert [made.encode(None, text) for text in texts] == ids


def test_ids_beyond_two_bytes_are_kept_whole() -> None:
    made = encoder(byte_level())
    made._pieces.ids = lambda _: [7, 70_000, 2**31]  # type: ignore[method-assign, assignment]
    made._pieces.is_neutral = True
    assert made.encode(None, "x") == made.encode(None, "x") == [7, 70_000, 2**31]


@pytest.mark.parametrize("special", [True, False])
def test_thousands_of_added_tokens_cost_little(special: bool) -> None:
    from tokenizers import AddedToken

    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken(f"<unused{n}>", special=special) for n in range(6000)])
    made, texts = encoder(tokenizer), [f"{n} {TEXT * 20}" for n in range(20)]
    made.encode(None, "warm")
    bare, ours = [], []
    for _ in range(3):
        start = time.process_time()
        for text in texts:
            tokenizer(text)
        bare.append(time.process_time() - start)
        start = time.process_time()
        for text in texts:
            made._encode(None, text)
        ours.append(time.process_time() - start)
    assert min(ours) < 3 * min(bare)
