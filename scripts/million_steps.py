"""The steps that ``bench_million.py`` times, each with its seconds and the peak of its memory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from star_al.app.compose import open_learner, open_parts
from star_al.app.reporting import write_report
from star_al.app.running import controlling
from star_al.app.starting import create_campaign
from star_al.app.status import status
from star_al.app.stores import open_store, reading
from star_al.common.paging import pages
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile
from star_al.loop import Loop
from star_al.parts import LeasedParts
from star_al.ports import ignore
from star_al.steps.pool import SHARD_ITEMS, stored_items
from star_al.types import Role, Round
from support.quiet import Quiet

Figures = dict[str, float]
Keep = Callable[[str, Figures], None]
"""Keeps the figures of a step, by its name."""

LOOP_STEPS = ("fit", "evaluate", "decide", "score", "select", "push", "collect")


@contextmanager
def measured(name: str, keep: Keep) -> Iterator[None]:
    """Time the body, by the clock and in CPU time of this process, and find the peak of the process's memory.

    Memory is what is resident, mapped files included; a step that begins with much of it has that in its peak.
    """
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    start, busy = time.perf_counter(), time.process_time()
    yield
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - busy
    keep(name, {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": _peak_mb()})


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line for line in lines if line.startswith("VmHWM")]
    return int(peak.split()[1]) / 1000


# -- the steps -----------------------------------------------------------------------------------------


def import_texts(config: Path, keep: Keep) -> None:
    """Make the campaign from its file of texts."""
    file = load_campaign(config)
    store = open_store(file, create=True)
    with measured("import", keep):
        create_campaign(file, store, Quiet())
    store.close()


def embed(config: Path, keep: Keep) -> None:
    """Read all texts of the pool with the sentence encoder."""
    file = load_campaign(config)
    with reading(file) as (store, campaign):
        learner = open_learner(file, file.spec, [], Quiet(), cache=file.trunk_folder)
        parts = open_parts(file, store, campaign, Quiet(), file.spec, learner=learner)
        encoder = parts.head or parts.learner
        with measured("embeddings", keep):
            for page in pages(store.item_ids(campaign.campaign_id, Role.POOL), SHARD_ITEMS):
                encoder.embed(None, stored_items(parts, page), ignore)


class TimedLoop(Loop):
    """Times the steps of the loop."""

    def __init__(self, parts: LeasedParts, keep: Keep) -> None:
        super().__init__(parts)
        self._keep = keep
        for name in LOOP_STEPS:
            setattr(self, name, self._timed(name, getattr(self, name)))

    def _timed(self, name: str, step: Callable[[Round], Round]) -> Callable[[Round], Round]:
        def run(round_: Round) -> Round:
            with measured(f"round {round_.index}: {name}", self._keep):
                return step(round_)

        return run


def run_rounds(config: Path, keep: Keep) -> None:
    """Run all rounds, or what is left of them."""
    with controlling(load_campaign(config), Quiet(), no_wait=True) as parts:
        TimedLoop(parts, keep).run()


def read(config: Path, keep: Keep) -> None:
    """Read the campaign as `status`, `history` and `report` do."""
    file = load_campaign(config)
    for name, act in _READ.items():
        with measured(name, keep):
            act(file)


def _status(file: CampaignFile) -> None:
    with reading(file) as (store, campaign):
        status(file, store, campaign)


def _history(file: CampaignFile) -> None:
    with reading(file) as (store, campaign):
        store.history(campaign.campaign_id)


def _report(file: CampaignFile) -> None:
    write_report(file, file.path.with_name("report.html"))


_READ: dict[str, Callable[[CampaignFile], None]] = {
    "status": _status,
    "history": _history,
    "report": _report,
}


def predict(config: Path, keep: Keep) -> None:
    """Predict the new texts by `star-al predict`, in a process of its own."""
    texts, out = config.with_name("new.jsonl"), config.with_name("predicted.parquet")
    command = [sys.executable, "-m", "star_al", "predict", str(config), "--in", str(texts), "--out", str(out)]
    start = time.perf_counter()
    child = os.spawnv(os.P_NOWAIT, sys.executable, command)
    _, ended, used = os.wait4(child, 0)
    if ended:
        raise SystemExit(f"predict ended with {os.waitstatus_to_exitcode(ended)}")
    seconds = time.perf_counter() - start
    keep(
        "predict",
        {
            "seconds": seconds,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_mb": used.ru_maxrss * 1.024 / 1000,
        },
    )


STAGES: dict[str, Callable[[Path, Keep], Any]] = {
    "import": import_texts,
    "embeddings": embed,
    "rounds": run_rounds,
    "reading": read,
    "predict": predict,
}
"""Each runs in a process of its own."""
