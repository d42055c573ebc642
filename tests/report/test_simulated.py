"""A campaign's page shows the study of its name: what random texts would have done."""

from __future__ import annotations

from dataclasses import replace

from star_al.report.page import campaign_page
from star_al.report.snapshot import CampaignSnapshot
from star_al.report.summary import summarise
from star_al.stats.learning_curves import Comparison
from support.report_snapshot import a_snapshot
from support.report_study import a_study

NO_CONTROL = "Whether the same number of random texts"


def test_simulated_campaigns_say_what_random_texts_would_have_done() -> None:
    alone = without_control()
    assert any(NO_CONTROL in each for each in summarise(alone).unknown)
    simulated = replace(alone, simulated=a_study().comparison)
    assert not any(NO_CONTROL in each for each in summarise(simulated).unknown)
    page = campaign_page(simulated)
    assert "In simulated campaigns on the same texts" in page and "random" in page
    assert "In simulated campaigns" not in campaign_page(alone)


def test_a_study_without_a_finished_run_says_nothing() -> None:
    alone = replace(without_control(), simulated=Comparison("small", (), (), None, None))
    assert any(NO_CONTROL in each for each in summarise(alone).unknown)
    assert "In simulated campaigns" not in campaign_page(alone)


def without_control() -> CampaignSnapshot:
    """A campaign without a control arm."""
    snapshot = a_snapshot()
    evaluations = {
        index: [one for one in found if one.model != "shadow"]
        for index, found in snapshot.evaluations.items()
    }
    acquisition = snapshot.spec.acquisition.model_copy(update={"control_share": 0.0})
    spec = snapshot.spec.model_copy(update={"acquisition": acquisition})
    return replace(snapshot, evaluations=evaluations, spec=spec)
