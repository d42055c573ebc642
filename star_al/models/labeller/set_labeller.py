"""Any number of labels a text by an exported language model, which answers yes or no for each label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from star_al.acquire.likeliest_sets import LOWEST_LABEL, MOST_SETS, fill_rest, likeliest_sets
from star_al.models.labeller.labeller import Labeller as OneLabel
from star_al.models.labeller.prompt import Prompt


class Labeller(OneLabel):
    """Gives texts any number of labels; arguments and attributes as of the labeller of one label."""

    def __call__(self, text: str | Mapping[str, object], options: Sequence[str] = ()) -> dict[str, float]:
        """Return the probability that the text has a label, for each label by itself: the mean over samples.

        Args:
            text: The text; a row with the campaign's columns if its texts are made of several.
            options: None: the labels are the same for all texts.
        """
        means_L = self._by_sample(text, options).exp().mean(dim=0)[:, 1]
        return dict(zip(self.labels, means_L.tolist(), strict=True))

    def choose(self, text: str | Mapping[str, object]) -> list[str]:
        """Return the likeliest set of labels; empty if that is none of them.

        Args:
            text: As above.
        """
        return self.sets(text)[0][0]

    def sets(self, text: str | Mapping[str, object]) -> list[tuple[list[str], float]]:
        """Return sets of labels with their calibrated probabilities, the likeliest first: all, or 32 of more.

        Args:
            text: As above.
        """
        lowest = np.log(LOWEST_LABEL)
        logs_K_L_2 = self._by_sample(text).clamp(min=lowest, max=0.0).log_softmax(dim=2).cpu().numpy()
        columns = min(MOST_SETS, 2 ** len(self.labels))
        logs_1_K_C, sets_1_C_L = likeliest_sets(logs_K_L_2[None], columns)
        with_rest_1_K_C = np.concatenate([logs_1_K_C, np.zeros((*logs_1_K_C.shape[:2], 1))], axis=2)
        fill_rest(with_rest_1_K_C, is_complete=columns == 2 ** len(self.labels))
        mean_C = np.logaddexp.reduce(_normalised(with_rest_1_K_C[0]), axis=0)  # up to a constant
        probabilities_C = np.exp(_normalised(mean_C / self._record["temperature"]))
        chosen = ([name for name, has in zip(self.labels, row, strict=True) if has] for row in sets_1_C_L[0])
        return list(zip(chosen, probabilities_C.tolist(), strict=False))  # the last is any other set

    def _log_probs(self, prompt: Prompt) -> Tensor:
        """Log-probabilities of not having and of having each label."""
        return self._scores(prompt).reshape(-1, 2).log_softmax(dim=1)


def _normalised(logs: Any) -> Any:
    return logs - np.logaddexp.reduce(logs, axis=-1, keepdims=True)
