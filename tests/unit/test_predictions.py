"""Predictions say what their columns stand for, and refuse what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from star_al.types import FloatArray, Predictions


def logs(*rows: list[float]) -> FloatArray:
    with np.errstate(divide="ignore"):
        log_probs: FloatArray = np.log(np.array(rows, dtype=np.float64))[:, None, :]
    return log_probs


def test_known_labels_are_said_once() -> None:
    found = Predictions(("i", "j"), logs([0.5, 0.3, 0.2], [0.5, 0.5, 0]), (("A", "B", "C"),))
    assert not found.open_ended and not found.signals


def test_answers_that_were_found_are_said_item_by_item() -> None:
    log_probs = logs([0.9, 0.1, 0], [0.5, 0.3, 0.2])
    answers = (("12", None), ("12", "13", None))
    Predictions(("i", "j"), log_probs, answers, open_ended=True, signals={"length": np.array([3.0, 4.0])})


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"answers": (("a", "b"),) * 3}, "3 tuples of answers for 2 items"),
        ({"answers": ()}, "0 tuples of answers"),
        ({"answers": (("a",),)}, "beyond the 1 answers of row 0"),
        ({"answers": (("a", "b"), ("a",))}, "beyond the 1 answers of row 1"),
        ({"answers": (("a", "b"),), "open_ended": True}, "do not end with None"),
        ({"answers": (("a", "b"),), "signals": {"nll": np.zeros(3)}}, "signal nll has shape"),
    ],
)
def test_what_does_not_fit_is_refused(given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Predictions(("i", "j"), logs([0.5, 0.5], [0.4, 0.6]), **given)
