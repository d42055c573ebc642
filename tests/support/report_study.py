"""A made-up study for report pages."""

from __future__ import annotations

import numpy as np

from star_al.report.study_page import StudySnapshot
from star_al.stats.learning_curves import RunCurve, compare
from star_al.types import Study, StudyRun
from support.report_snapshot import MADE_AT

GAINS = {"random": 0.30, "entropy": 0.33, "margin": 0.34, "bald": 0.28}


def a_study(seeds: int = 5, finished: bool = True) -> StudySnapshot:
    """Return a study of four strategies; without ``finished``, no run has finished."""
    random = np.random.default_rng(0)
    runs = []
    for strategy, gain in GAINS.items():
        for seed in range(seeds):
            rounds_R = np.arange(7)
            accuracy_R = 0.5 + gain * (1 - np.exp(-rounds_R / 2)) + random.normal(0, 0.01, 7)
            runs.append(
                RunCurve(
                    strategy,
                    seed,
                    f"news.{strategy}.{seed}",
                    finished,
                    tuple((130 + 25 * rounds_R).tolist()),
                    tuple(accuracy_R.tolist()),
                    base_accuracy=0.5,
                    majority=0.3,
                    seconds=312.0,
                    stop_reason="label budget used: 280 of 280" if finished else None,
                )
            )
    study = Study(
        "news", {"name": "news"}, tuple(StudyRun(run.strategy, run.seed, run.campaign) for run in runs)
    )
    return StudySnapshot(study, compare("news", runs), MADE_AT, "1.2.3")
