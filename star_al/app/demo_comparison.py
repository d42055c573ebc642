"""The demo's comparison with random choice: campaigns of the head alone, each of which takes seconds."""

from __future__ import annotations

import shutil

from star_al.app.simulating import SimulationRequest, simulate
from star_al.common.wording import count
from star_al.config.spec import CampaignFile, HeadLearnerSpec
from star_al.ports import Progress
from star_al.stats.learning_curves import Comparison, StrategyCurve
from star_al.stats.over_seeds import Difference

STRATEGIES = ("random", "recommended")
SEEDS = 5


def compare_with_random(file: CampaignFile, progress: Progress) -> Comparison:
    """Simulate the demo's campaign with the head, once with random texts and once with those it chooses.

    The study has the campaign's name, so that the campaign's page shows it.
    """
    alone = file.spec.model_copy(update={"learner": HeadLearnerSpec(kind="head")})
    simulated = file.model_copy(update={"spec": alone})
    known = file.feature_folder  # the campaign has encoded all texts already
    own = file.resolve(f"{file.spec.name}-study") / known.name
    if known.is_dir() and not own.exists():
        shutil.copytree(known, own)
    return simulate(simulated, SimulationRequest(STRATEGIES, SEEDS), progress).comparison


def in_words(comparison: Comparison) -> list[str]:
    """What the comparison shows, in lines of at most 80 columns; none if it is not complete."""
    random, chosen = map(comparison.strategy, STRATEGIES)
    if random is None or chosen is None or chosen.final_difference is None:
        return []
    campaigns = count(chosen.final_difference.seeds, "campaign")
    return [
        f"Chosen or random texts? The head alone, {campaigns} with each:",
        f"  random texts  {100 * random.final.mean:.1f} % right with {random.labels_R[-1]:.0f} labels",
        f"  chosen texts  {100 * chosen.final.mean:.1f} % right with {chosen.labels_R[-1]:.0f} labels"
        f"{_sooner(chosen, random)}",
        f"  difference    {_difference_in_words(chosen.final_difference)}",
    ]


def _sooner(chosen: StrategyCurve, random: StrategyCurve) -> str:
    """From how many labels on the chosen texts are as good as all random ones; empty if they need as many."""
    last = len(chosen.labels_R) - 1
    while last > 0 and chosen.accuracy_R[last - 1] >= random.final.mean:
        last -= 1
    needed = chosen.labels_R[last]
    return f", better than that from {needed:.0f} on" if needed < random.labels_R[-1] else ""


def _difference_in_words(difference: Difference) -> str:
    points = f"{100 * difference.mean:+.1f} points"
    if difference.t_low is None or difference.t_high is None:
        return points
    told = f"{points} (95 % interval {100 * difference.t_low:+.1f} to {100 * difference.t_high:+.1f})"
    return told if difference.t_low > 0 or difference.t_high < 0 else f"{told}, which may be chance"
