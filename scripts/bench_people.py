"""Time how long people wait for their next questions, on a new Label Studio server with a person that follows a script.

A wait is the time from the last answer of a batch, as the server dates it, to the moment when the next questions are
there. With ``lora`` a language model is trained in the background all the time (``learner.train: each_round``).

python scripts/bench_people.py --cases head lora --buffers 0 10 --rounds 6
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import requests

from star_al.app.demo import fetch_news
from star_al.app.stores import open_store
from star_al.config.dotted_names import set_value
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile
from star_al.config.writing import to_yaml
from star_al.ports import Store
from star_al.types import Campaign, Event
from support.label_studio_people import Person
from support.label_studio_server import LabelStudio, start_server

TOKEN = "STAR_AL_BENCH_TOKEN"
HELD_OUT = 10


@dataclass(frozen=True)
class Case:
    """One campaign: what is trained, and how many tasks stay open meanwhile."""

    learner: str
    buffer: int

    @property
    def name(self) -> str:
        """The campaign's name."""
        return f"{self.learner}-buffer-{self.buffer}"


@dataclass(frozen=True)
class Wait:
    """The time between two batches, in seconds, and what of it each step took."""

    round_index: int
    seconds: float
    by_step: dict[str, float]
    trains: bool

    def in_words(self) -> str:
        """The seconds on one line."""
        steps = ", ".join(f"{step} {seconds:.2f}" for step, seconds in self.by_step.items())
        rest = self.seconds - sum(self.by_step.values())
        beside = ", training beside" if self.trains else ""
        return f"before round {self.round_index}: {self.seconds:.2f} s ({steps}, rest {rest:.2f}){beside}"


class Clerk(threading.Thread):
    """A person who labels what the server gives, one text every ``pace`` seconds, and never waits between texts."""

    def __init__(self, server: LabelStudio, title: str, right: dict[str, str], pace: float) -> None:
        super().__init__(daemon=True)
        self._server, self._title, self._right, self._pace = server, title, right, pace
        self._home = threading.Event()
        self.idle: list[float] = []  # seconds between an answer and the next task

    def run(self) -> None:
        """Label until ``go_home``."""
        project: int | None = None
        while project is None and not self._home.wait(0.2):
            project = self._server.project_of(self._title)
        person, answered = Person(self._server.url, self._server.token), time.monotonic()
        while not self._home.is_set():
            task = person.next_task(project) if project is not None else None
            if task is None:
                self._home.wait(0.1)
                continue
            self.idle.append(time.monotonic() - answered)
            self._home.wait(self._pace)
            try:
                person.answer(task["id"], self._right[task["data"]["text"]])
            except (AssertionError, requests.RequestException):  # withdrawn from the buffer meanwhile
                continue
            answered = time.monotonic()

    def go_home(self) -> None:
        """End the work."""
        self._home.set()
        self.join(30)


def write_campaign(
    folder: Path, case: Case, server: LabelStudio, arguments: argparse.Namespace, rows: list[dict[str, str]]
) -> Path:
    """Write the data and the campaign file."""
    folder.mkdir()
    data = folder / "texts.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lora: dict[str, Any] = {"kind": "lora", "train": "each_round"}
    spec: dict[str, Any] = {
        "name": case.name,
        "data": {"path": data.name, "text": "text"},
        "task": {"kind": "classification", "labels": sorted({row["label"] for row in rows})},
        "learner": lora if case.learner == "lora" else {"kind": "head"},
        "head": {"encoder": arguments.encoder},
        "acquisition": {"batch_size": arguments.batch_size},
        "annotator": {"kind": "label_studio", "url": server.url, "token_env": TOKEN},
        "labelling": {"buffer": case.buffer},
        "evaluation": {"kind": "audit", "size": HELD_OUT, "calibration": 0},
        "stopping": {"max_rounds": arguments.rounds + 5},
    }
    if case.learner == "lora":
        spec["model"] = {"name": arguments.model}
        set_value(spec, "acquisition.scorer", "head")
    path = folder / "campaign.yaml"
    path.write_text(to_yaml(spec), encoding="utf-8")
    return path


def run_case(
    folder: Path, case: Case, server: LabelStudio, arguments: argparse.Namespace, rows: list[dict[str, str]]
) -> tuple[list[Wait], list[float]]:
    """Let a person label until the batch of the last round is out; return the waits and what the person noticed."""
    path = write_campaign(folder, case, server, arguments, rows)
    right = {row["text"]: row["label"] for row in rows}
    command = [sys.executable, "-m", "star_al", "run", str(path)]
    log = folder / "run.log"
    with log.open("w") as output:
        run = subprocess.Popen(command, env={**os.environ, TOKEN: server.token}, stdout=output, stderr=output)
        clerk = Clerk(server, case.name, right, arguments.pace)
        clerk.start()
        try:
            end = time.monotonic() + arguments.limit
            while time.monotonic() < end and run.poll() is None and not _is_done(path, arguments.rounds):
                time.sleep(1)
        finally:
            run.terminate()
            run.wait(60)
            clerk.go_home()
    if arguments.verbose:
        print(log.read_text())
    file = load_campaign(path)
    store = open_store(file)
    try:
        campaign = store.find_campaign(file.spec.name)
        assert campaign is not None, log.read_text()
        return waits(store, campaign, case.learner), clerk.idle
    finally:
        store.close()


def _is_done(path: Path, last: int) -> bool:
    file: CampaignFile = load_campaign(path)
    if not Path(file.database_url.removeprefix("sqlite:///")).exists():
        return False
    store = open_store(file)
    try:
        campaign = store.find_campaign(file.spec.name)
        return campaign is not None and any(
            (event.step, event.round_index) == ("push", last) for event in store.events(campaign.campaign_id)
        )
    finally:
        store.close()


def waits(store: Store, campaign: Campaign, learner: str) -> list[Wait]:
    """The waits between the batches of a campaign."""
    events = store.events(campaign.campaign_id)
    pushed = {
        event.round_index: event for event in events if event.step == "push" and event.seconds is not None
    }
    answered: dict[int, list[float]] = {}
    of_round = {query.query_id: query.round_index for query in store.queries(campaign.campaign_id)}
    for each in store.annotations(campaign.campaign_id):
        if each.created_at is not None:
            answered.setdefault(of_round[each.query_id], []).append(each.created_at.timestamp())
    found = []
    for index, event in sorted(pushed.items(), key=lambda each: each[0] or 0):
        collected = next(
            (one for one in events if (one.step, one.round_index) == ("collect", (index or 0) - 1)), None
        )
        if not index or collected is None or collected.created_at is None or event.created_at is None:
            continue
        # Answers to the buffer come after the round is closed; the last one before that closed it.
        closing = max(at for at in answered[index - 1] if at <= collected.created_at.timestamp())
        found.append(
            Wait(
                index,
                event.created_at.timestamp() - closing,
                _steps(events, index),
                learner == "lora" and _trains(events, event),
            )
        )
    return found


def _steps(events: list[Event], index: int) -> dict[str, float]:
    steps: dict[str, float] = defaultdict(float)
    for event in events:
        if event.round_index == index and event.step in (
            "fit",
            "evaluate",
            "decide",
            "score",
            "select",
            "push",
        ):
            steps[event.step] += event.seconds or 0.0
    return dict(steps)


def _trains(events: list[Event], moment: Event) -> bool:
    """True if a language model was under way at a moment: an earlier round's was not measured yet."""
    before = events[: events.index(moment)]
    trained = {event.round_index for event in before if event.step == "measure"}
    due = {event.round_index for event in before if event.step == "push"} - {0, None}
    return bool(due - trained)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server and the run end, too
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=("head", "lora"), default=["head", "lora"])
    parser.add_argument("--buffers", nargs="+", type=int, default=[0, 10])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--pace", type=float, default=0.5, help="seconds that a person reads a text")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for a case")
    parser.add_argument("--data", type=Path, help="JSON lines with text and label; news articles by default")
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--characters", type=int, default=300, help="that are kept of each text")
    parser.add_argument("--encoder", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--verbose", action="store_true", help="print what each run wrote")
    arguments = parser.parse_args()
    if arguments.data is None:
        rows = fetch_news(print)
    else:
        rows = [json.loads(line) for line in arguments.data.read_text(encoding="utf-8").splitlines()]
    n = arguments.characters
    kept = {row["text"][:n].strip(): {"text": row["text"][:n].strip(), "label": row["label"]} for row in rows}
    rows = list(kept.values())[: arguments.texts]
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder) / "server")
        try:
            for case in (
                Case(learner, buffer) for learner in arguments.cases for buffer in arguments.buffers
            ):
                found, idle = run_case(Path(folder) / case.name, case, server, arguments, rows)
                print(f"{case.name}, {len(rows):,} texts:")
                for wait in found:
                    print(f"  {wait.in_words()}")
                if found:
                    later = [wait.seconds for wait in found if wait.round_index > 1]
                    print(
                        f"  from round 2 on: median {statistics.median(later):.2f} s, at most {max(later):.2f} s; "
                        f"the person's longest wait for a text {max(idle[1:]):.2f} s",
                        flush=True,
                    )
        finally:
            server.stop()


if __name__ == "__main__":
    main()
