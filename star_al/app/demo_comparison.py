"""The demo's comparison with random choice: campaigns of the head alone, each of which takes seconds."""

from __future__ import annotations

import shutil

from star_al.app.simulating import SimulationRequest, simulate
from star_al.config.spec import CampaignFile, HeadLearnerSpec
from star_al.ports import Progress
from star_al.stats.learning_curves import Comparison

STRATEGIES = ("random", "recommended")
SEEDS = 3


def compare_with_random(file: CampaignFile, progress: Progress) -> Comparison:
    """Simulate the demo's campaign with the head, once with random texts and once with those it chooses.

    The study has the campaign's name, so that the campaign's page shows it.
    """
    acquisition = file.spec.acquisition.model_copy(update={"candidates": None})
    changes = {"learner": HeadLearnerSpec(kind="head"), "acquisition": acquisition}
    simulated = file.model_copy(update={"spec": file.spec.model_copy(update=changes)})
    known = file.feature_folder  # the campaign has encoded all texts already
    own = file.resolve(f"{file.spec.name}-study") / known.name
    if known.is_dir() and not own.exists():
        shutil.copytree(known, own)
    return simulate(simulated, SimulationRequest(STRATEGIES, SEEDS), progress).comparison
