"""What the product delivers from a head and a LoRA, weighed on a few labels that neither has seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from star_al.rng import derive_seed
from star_al.stats.delivery import HeldOutAnswers, fit_delivery, mixed
from star_al.types import FloatArray, IntArray

HELD_OUT = 30
"""Labels that weigh the models, ``evaluation.calibration`` of a new campaign."""

DRAWS = 20
"""How often they are drawn from the test texts; the rest of the test measures."""


def delivered(
    head_T_C: FloatArray, lora_T_C: FloatArray, targets_T: IntArray, seed: int, held_out: int = HELD_OUT
) -> dict[str, Any]:
    """Compare what is delivered with each of the two models alone.

    Args:
        head_T_C: The head's log-probabilities of the test texts.
        lora_T_C: LoRA's.
        targets_T: Columns of their labels.
        seed: Of the draws.
        held_out: Labels that weigh the models.

    Returns:
        Accuracy of what is delivered, of the head and of LoRA, each the mean over draws, on the texts that did not
        weigh them.
    """
    random = np.random.default_rng(derive_seed(seed, 0, "study/delivery"))
    found = []
    for _ in range(DRAWS):
        order_T = random.permutation(len(targets_T))
        weighing, rest = order_T[:held_out], order_T[held_out:]
        weights = fit_delivery(HeldOutAnswers(head_T_C[weighing], lora_T_C[weighing], targets_T[weighing]))
        both_T_C = mixed(head_T_C[rest], lora_T_C[rest], weights.head_weight, weights.adapted_weight)
        found.append(
            [
                (log_probs_T_C.argmax(axis=1) == targets_T[rest]).mean()
                for log_probs_T_C in (both_T_C, head_T_C[rest], lora_T_C[rest])
            ]
        )
    names = ("delivered", "delivered_head", "delivered_lora")
    return dict(zip(names, np.mean(found, axis=0).round(5).tolist(), strict=True))
