"""Check that the model has a row for each token that its tokenizer can give.

Tokens that were added to a tokenizer need rows in the embedding and in the head. Without them a CPU raises an
IndexError at the first text, and a GPU stops the whole process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from star_al.errors import ModelError
from star_al.models.prompts import Prompt


def require_rows(model: Any, tokenizer: Any, prompts: Sequence[Prompt]) -> None:
    """Refuse a model without rows for the tokens of its prompts, its labels, or any text.

    Special tokens that no prompt has, such as one for padding, need no row.

    Args:
        model: The causal language model.
        tokenizer: Its tokenizer.
        prompts: Some prompts of the task.

    Raises:
        ModelError: A row is missing. Names the token.
    """
    embedding, head = (
        _rows(layer) for layer in (model.get_input_embeddings(), model.get_output_embeddings())
    )
    labels = set(chain.from_iterable(prompt.labels for prompt in prompts))
    _require("the prompt has", chain.from_iterable(prompt.tokens for prompt in prompts), embedding, tokenizer)
    _require("a label has", chain.from_iterable(labels), min(embedding, head), tokenizer)
    if len(tokenizer) > embedding:
        _require("a text may have", _ordinary_tokens(tokenizer), embedding, tokenizer)


def _rows(layer: Any) -> int:
    """Return the number of tokens of an embedding or a head; any number if there is none to compare with."""
    weight = getattr(layer, "weight", None)
    return 2**31 if weight is None else int(getattr(layer, "num_embeddings", None) or len(weight))


def _ordinary_tokens(tokenizer: Any) -> set[int]:
    added = tokenizer.added_tokens_decoder
    special = {*tokenizer.all_special_ids, *(number for number, token in added.items() if token.special)}
    return set(tokenizer.get_vocab().values()) - special


def _require(where: str, tokens: Iterable[int], rows: int, tokenizer: Any) -> None:
    beyond = max(tokens, default=0)
    if beyond >= rows:
        token = tokenizer.convert_ids_to_tokens(beyond)
        raise ModelError(
            f"{where} the token {token} ({beyond}), but the model has {rows} tokens. "
            "Call model.resize_token_embeddings(len(tokenizer)), train the new rows, and save the model."
        )
