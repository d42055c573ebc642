"""What is delivered of head and language model, in words."""

from __future__ import annotations


def delivered_in_words(head_weight: float, adapted_weight: float) -> str:
    """Name the models; one of them alone if the other has no weight."""
    if adapted_weight == 0.0:
        return "the head alone"
    if head_weight == 0.0:
        return "the language model alone"
    return "the head and the language model together"
