"""Held-out texts get the samples that the figures need, in campaigns with many samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from star_al import rng
from star_al.types import Predictions
from support.world import World


@pytest.mark.parametrize(
    ("samples", "measure", "stops_early"), [(32, "margin", True), (32, "bald", False), (4, "margin", False)]
)
def test_samples_stop_early_unless_they_are_few_or_compared(
    tmp_path: Path, samples: int, measure: str, stops_early: bool
) -> None:
    world = World(
        tmp_path,
        n=150,
        posterior__samples=samples,
        acquisition__measure=measure,
        evaluation__size=60,
        stopping__max_rounds=1,
    )
    predict, passes = world.learner.predict, 0
    seed = rng.derive_seed(world.campaign.seed, 1, "evaluate")

    def counted(*args: Any, draws: range | None, **kwargs: Any) -> Predictions:
        nonlocal passes
        if kwargs["seed"] == seed and draws is not None:
            passes += len(args[1]) * len(draws)
        return predict(*args, draws=draws, **kwargs)

    world.learner.predict = counted  # type: ignore[method-assign]
    world.run()
    full = samples * (60 + world.file.spec.evaluation.calibration)
    assert passes < full if stops_early else passes == full
