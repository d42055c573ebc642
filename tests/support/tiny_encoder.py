"""A tiny random sentence encoder with a tokenizer of a few words, built in a second without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.tiny_model import SENTENCES

DIMENSION = 32
LIMIT = 64


def build_tiny_encoder(
    folder: Path, *, seed: int = 0, sentence_transformers: bool = True, words: tuple[str, ...] = ()
) -> Path:
    """Save a random float32 BERT (hidden 32, 2 layers, 64 tokens) as an encoder into ``folder``; returns it.

    Args:
        folder: Is made.
        seed: Of the weights.
        sentence_transformers: Write the files of that library; else only those of a transformers encoder.
        words: Further words that the tokenizer should know.
    """
    import torch
    import transformers
    from tokenizers import BertWordPieceTokenizer

    from star_al.models.quiet import quiet

    folder.mkdir(parents=True, exist_ok=True)
    pieces = BertWordPieceTokenizer(_vocabulary([*SENTENCES, *words]), lowercase=True)
    fast: Any = transformers.BertTokenizerFast  # type: ignore[attr-defined]
    tokenizer = fast(tokenizer_object=pieces._tokenizer, do_lower_case=True)
    tokenizer.model_max_length = LIMIT
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        config = transformers.BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=DIMENSION,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LIMIT,
            initializer_range=0.2,
            pad_token_id=tokenizer.pad_token_id,
        )
        transformers.BertModel(config).eval().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    if sentence_transformers:
        _add_modules(folder)
    return folder


def _vocabulary(texts: Sequence[str]) -> dict[str, int]:
    """The words of texts and their letters, in an order of their own: a tokenizer is not trained the same way twice."""
    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    letters = sorted({letter for word in words for letter in word})
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    pieces = dict.fromkeys((*special, *letters, *(f"##{letter}" for letter in letters), *words))
    return {piece: number for number, piece in enumerate(pieces)}


def _add_modules(folder: Path) -> None:
    """Add what sentence-transformers writes beside a transformers model: mean pooling and normalisation."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    listed = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": LIMIT}))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": DIMENSION, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
