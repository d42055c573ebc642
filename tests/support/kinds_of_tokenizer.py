"""Tiny tokenizers of the kinds that published models have, each trained in a moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from support.tiny_model import SENTENCES


def byte_level(
    special: Sequence[str] = (), *, chat_template: str | None = None, eos: str = "</s>", **settings: Any
) -> Any:
    """A byte-level BPE tokenizer, as Llama 3, Qwen and SmolLM have; ``settings`` go to its pre-tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(**({"add_prefix_space": False} | settings))
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        show_progress=False,
        special_tokens=list(dict.fromkeys(["<s>", eos, *special])),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    bpe.train_from_iterator(SENTENCES * 4, trainer)
    return _wrapped(bpe, chat_template, bos_token="<s>", eos_token=eos)


def prepending(special: Sequence[str] = (), *, chat_template: str | None = None, strips: bool = False) -> Any:
    """A tokenizer whose normaliser puts "▁" before whatever it is given, as Mistral 7B and Phi-3 have."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    steps: list[Any] = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    bpe.normalizer = normalizers.Sequence([normalizers.Strip(), *steps] if strips else steps)
    bpe.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokens = ["<unk>", "<s>", "</s>", *special]
    alphabet = [chr(code) for code in range(33, 127)]
    bpe.train_from_iterator(
        SENTENCES * 4,
        trainers.BpeTrainer(
            vocab_size=600,
            show_progress=False,
            special_tokens=tokens,
            initial_alphabet=["\n", "▁", *alphabet],
        ),
    )
    bpe.pre_tokenizer = None
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return _wrapped(bpe, chat_template, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def metaspace(scheme: str = "always", *, alphabet: Sequence[str] = ("\n", "▁")) -> Any:
    """A tokenizer with a metaspace pre-tokenizer and without byte fallback."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    bpe.decoder = decoders.Metaspace(prepend_scheme=scheme)
    bpe.train_from_iterator(
        SENTENCES * 4,
        trainers.BpeTrainer(
            vocab_size=480,
            show_progress=False,
            special_tokens=["<unk>", "<s>", "</s>"],
            initial_alphabet=list(alphabet),
        ),
    )
    return _wrapped(bpe, None, eos_token="</s>", unk_token="<unk>")


def unigram() -> Any:
    """A tokenizer that reads any white space as one space before a word, as XGLM and T5 have."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    pieces = Tokenizer(models.Unigram())
    pieces.normalizer = normalizers.Replace(Regex(r"\s+"), " ")
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300,
        special_tokens=["<unk>", "</s>"],
        unk_token="<unk>",
        show_progress=False,
        initial_alphabet=[chr(code) for code in range(33, 127)],
    )
    pieces.train_from_iterator(SENTENCES * 4, trainer)
    return _wrapped(pieces, None, unk_token="<unk>", eos_token="</s>")


def word_piece() -> Any:
    """A tokenizer that drops case and white space and frames a sequence, as BERT has."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.decoder = decoders.WordPiece()
    special = ["[UNK]", "[CLS]", "[SEP]"]
    alphabet = [chr(code) for code in range(33, 127)]
    pieces.train_from_iterator(
        SENTENCES * 4,
        trainers.WordPieceTrainer(
            vocab_size=500, show_progress=False, special_tokens=special, initial_alphabet=alphabet
        ),
    )
    pieces.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return _wrapped(pieces, None, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]")


def beginning_with_bos() -> Any:
    """A byte-level tokenizer that puts a beginning-of-sequence token before whatever it is given."""
    from tokenizers import processors

    tokenizer = byte_level()
    bos = ("<s>", tokenizer.bos_token_id)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[bos]
    )
    return tokenizer


def slow() -> Any:
    """A tokenizer in Python that knows words and the spaces between them, as older models have."""
    import re

    from transformers import PreTrainedTokenizer

    class Words(PreTrainedTokenizer):
        def __init__(self, **settings: Any) -> None:
            words = re.findall(r"\w|\W", " ".join(SENTENCES) + "\n:?!0123456789<>[]/|")
            names = dict.fromkeys(["<unk>", "</s>", *re.findall(r"\w+", " ".join(SENTENCES)), *words])
            self._ids = {word: index for index, word in enumerate(names)}
            super().__init__(unk_token="<unk>", eos_token="</s>", **settings)  # type: ignore[no-untyped-call]

        @property
        def vocab_size(self) -> int:
            return len(self._ids)

        def get_vocab(self) -> dict[str, int]:
            return self._ids | self.added_tokens_encoder

        def _tokenize(self, text: str, **_: Any) -> list[str]:
            return re.findall(r"\w+|\W", text)

        def _convert_token_to_id(self, token: str) -> int:
            return self._ids.get(token, 0)

        def _convert_id_to_token(self, index: int) -> str:
            return str(list(self._ids)[index])

        def convert_tokens_to_string(self, tokens: list[str]) -> str:
            return "".join(tokens)

    return Words()


KINDS: dict[str, Callable[[], Any]] = {
    "byte-level": byte_level,
    "byte-level with a space before": lambda: byte_level(add_prefix_space=True),
    "normaliser that prepends": prepending,
    "normaliser that strips and prepends": lambda: prepending(strips=True),
    "metaspace always": metaspace,
    "metaspace first": lambda: metaspace("first"),
    "metaspace never": lambda: metaspace("never"),
    "unigram": unigram,
    "word pieces": word_piece,
    "beginning of a sequence": beginning_with_bos,
    "slow": slow,
}


def _wrapped(backend: Any, chat_template: str | None, **tokens: str) -> Any:
    import transformers

    fast: Any = transformers.PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_object=backend, **tokens)
    tokenizer.model_max_length = 1024
    tokenizer.chat_template = chat_template
    return tokenizer
