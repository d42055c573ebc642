"""Where language models are trained while the loop goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from star_al.types import Round, TrainingResult


class Background(Protocol):
    """Trains and measures the language model of one round at a time. It stores nothing of a campaign's rounds."""

    @property
    def busy(self) -> bool:
        """True from ``start`` until ``results`` has given all of a round or raised its error."""

    def start(self, round_: Round) -> None:
        """Begin with what a round's language model needs: it is trained, or only measured if it has an adapter.

        Args:
            round_: The round, with the settings to train with. No other may be under way.
        """

    def results(self, *, wait: bool) -> Iterator[TrainingResult]:
        """Yield what has been finished and was not yielded before.

        Args:
            wait: Yield all that is left of the round, and show the progress; else only what is there.

        Raises:
            StarALError: The work has failed; it may be started again.
        """

    def in_words(self) -> str:
        """What is being done now, on one line."""
