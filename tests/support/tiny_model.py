"""A tiny random language model with a real trained tokenizer, built in a second without a network."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SENTENCES = (
    "The market fell sharply after the bank raised interest rates and business was slow.",
    "The striker scored twice in the final and the team won the sports cup again.",
    "A new phone with a faster chip was shown by the tech company in the morning.",
    "The minister answered questions on politics in parliament about the election.",
    "The film won an award and the singer gave a show, great entertainment for all.",
    "Classify the text. Answer with one of the labels. Answer: positive, negative, neutral.",
    "A. yes B. no C. maybe D. none of the above. Question, options, answer with the letter.",
    "system user assistant Text Label Labels Options Answer good bad news sport sports",
)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

ARCHITECTURES = ("llama", "qwen2", "gpt2", "gpt_neox")


def build_tiny_model(
    folder: Path,
    *,
    chat_template: bool = True,
    architecture: str = "llama",
    seed: int = 0,
    spread: float = 0.1,
) -> Path:
    """Save a float32 model (hidden 32, 2 layers, context 256) and its tokenizer into ``folder``; returns it.

    ``spread`` is the standard deviation of the random weights: larger makes predictions less uniform.
    ``architecture`` is one of ``ARCHITECTURES``; embeddings are tied, except for gpt_neox.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(chat_template=chat_template)
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        model = _architecture(architecture, len(tokenizer), spread, tokenizer.eos_token_id)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stderr(io.StringIO()):
        yield


def build_tokenizer(*, chat_template: bool = True) -> Any:
    """A byte-level BPE tokenizer trained on a few sentences, with ChatML control tokens."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        show_progress=False,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    bpe.train_from_iterator(SENTENCES * 4, trainer)
    fast: Any = transformers.PreTrainedTokenizerFast
    tokenizer = fast(
        tokenizer_object=bpe,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>" if chat_template else "<|endoftext|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    tokenizer.model_max_length = 256
    tokenizer.chat_template = CHAT_TEMPLATE if chat_template else None
    return tokenizer


def _architecture(name: str, vocabulary: int, spread: float, eos: int) -> Any:
    import transformers as hf

    ends: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": eos, "pad_token_id": 0}
    block: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "initializer_range": spread,
        **ends,
    }
    if name == "llama":
        return hf.LlamaForCausalLM(hf.LlamaConfig(**block, num_key_value_heads=2, tie_word_embeddings=True))
    if name == "qwen2":
        return hf.Qwen2ForCausalLM(hf.Qwen2Config(**block, num_key_value_heads=2, tie_word_embeddings=True))
    if name == "gpt_neox":
        return hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**block))
    if name == "gpt2":
        config = hf.GPT2Config(
            vocab_size=vocabulary,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=256,
            initializer_range=spread,
            **ends,
        )
        return hf.GPT2LMHeadModel(config)
    raise ValueError(f"unknown architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
