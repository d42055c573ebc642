"""What is delivered of head and language model, in words."""

from __future__ import annotations


def delivered_in_words(head_weight: float, adapted_weight: float) -> str:
    """Name the models with their shares of the weight; one of them alone if the other has none."""
    if adapted_weight == 0.0:
        return "the head alone"
    if head_weight == 0.0:
        return "the language model alone"
    share = adapted_weight / (head_weight + adapted_weight)
    return f"the head ({1 - share:.0%} of the weight) and the language model ({share:.0%})"
