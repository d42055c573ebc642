"""Campaigns that a program answers, with the NumPy learner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from star_al import Campaign
from star_al.app import compose, running
from star_al.task import closed, make_task
from support.campaigns import write_campaign
from support.numpy_learner import NumpyLearner
from support.quiet import Quiet

Open = Callable[..., Campaign]


@pytest.fixture(autouse=True)
def numpy_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_learner(file: Any, spec: Any, *_: Any, **__: Any) -> NumpyLearner:
        return NumpyLearner(closed(make_task(spec.task)))

    for module in (compose, running):
        monkeypatch.setattr(module, "open_learner", open_learner)


@pytest.fixture
def campaign_of(tmp_path: Path) -> Iterator[Open]:
    """Opens campaigns with ``annotator.kind: api`` and the given changes; closes them."""
    opened: list[Campaign] = []

    def open_(**changes: Any) -> Campaign:
        settings: dict[str, Any] = {
            "annotator": {"kind": "api"},
            "evaluation": {"kind": "none", "calibration": 0, "stop_set": 5},
            "stopping": {"max_rounds": 2},
            **changes,
        }
        opened.append(Campaign.open(write_campaign(tmp_path, **settings), progress=Quiet()))
        return opened[-1]

    yield open_
    for campaign in opened:
        campaign.close()
