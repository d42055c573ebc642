"""When an answer is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ending:
    """What ends an answer: one of some tokens, or what the chat template writes after an answer.

    Attributes:
        taught: The ids that training puts after an answer.
        tokens: Each of these ends an answer by itself.
        text: Ends an answer however it is split into tokens; empty if ``taught`` ends by one of ``tokens``.
        tokenizer: The model's.
    """

    taught: tuple[int, ...]
    tokens: frozenset[int]
    text: str
    tokenizer: Any

    @classmethod
    def of(cls, taught: tuple[int, ...], control: frozenset[int], model: Any, tokenizer: Any) -> Ending:
        """Return how answers of a model end.

        Args:
            taught: What follows an answer in the rendered prompt; not empty.
            control: Tokens that content cannot hold: if ``taught`` ends by one, that token is an end.
            model: Its ``generation_config`` may list further ends.
            tokenizer: Its own end of a sequence counts too.
        """
        listed = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        listed = listed if isinstance(listed, (list, tuple)) else [listed]
        ends = {int(token) for token in (*listed, tokenizer.eos_token_id) if token is not None}
        if taught[-1] in control | ends:
            return cls(taught, frozenset(ends | {taught[-1]}), "", tokenizer)
        return cls(taught, frozenset(ends), tokenizer.decode(taught), tokenizer)

    def is_over(self, written: Sequence[int]) -> bool:
        """Return whether what was written so far is a whole answer."""
        if written[-1] in self.tokens:
            return True
        if not self.text:
            return False
        # A token has a character at least, but for those that are parts of one.
        return self.text in self.tokenizer.decode(list(written[-4 * len(self.text) :]))

    def answer(self, written: Sequence[int]) -> str:
        """Return the text of an answer without its end, and without white space around it."""
        kept = list(written[:-1] if written and written[-1] in self.tokens else written)
        text: str = self.tokenizer.decode(kept, skip_special_tokens=True)
        return (text.partition(self.text)[0] if self.text else text).strip()
