"""What model cards say of a task, by its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CardWords:
    """Words about a kind of task.

    Attributes:
        purpose: What a model of it does; "this model" comes before.
        tag: Its name on the Hugging Face hub.
        untrained_head: How a head predicts without training.
        labels: What is said in place of a table of labels; None where all texts have the same ones.
    """

    purpose: str
    tag: str
    untrained_head: str
    labels: str | None = None


CARD_WORDS: Mapping[str, CardWords] = {
    "classification": CardWords(
        purpose="gives a text one label",
        tag="text-classification",
        untrained_head="By the similarity of texts to the labels' names, without training",
    ),
    "multiple_choice": CardWords(
        purpose="chooses one of a text's options",
        tag="multiple-choice",
        untrained_head="By the similarity of texts to their options, without training",
        labels="Each text has options of its own; the labels are their letters.",
    ),
    "rating": CardWords(
        purpose="rates a text by a level of a scale",
        tag="text-classification",
        untrained_head="By the similarity of texts to the levels' names, without training",
    ),
    "text": CardWords(
        purpose="writes an answer to a text",
        tag="text-generation",
        untrained_head="Not at all",
        labels="Answers are written freely.",
    ),
    "multi_label": CardWords(
        purpose="gives a text any number of labels",
        tag="text-classification",
        untrained_head="By the similarity of texts to the labels' names, without training",
    ),
    "preference": CardWords(
        purpose="says which of two completions of a prompt is better",
        tag="text-ranking",
        untrained_head="By the similarity of prompts to their completions, without training",
        labels="Each text is a prompt with two completions of its own; the labels are their letters, A and B.",
    ),
}
"""By kind of task."""
