"""The progress display of a study."""

from __future__ import annotations

from contextlib import ExitStack
from typing import cast

from star_al.common.wording import count
from star_al.config.spec import CampaignSpec
from star_al.errors import StarALError
from star_al.ports import Advance, Progress, Store
from star_al.stats.ranking_model import rows_by_ranker
from star_al.types import JsonObject, StudyRun


class StudyProgress:
    """Shows the runs of a study: a bar for all, a bar for each that is running, a line for each that ends."""

    def __init__(self, store: Store, progress: Progress, name: str, jobs: int) -> None:
        self._store, self._progress, self._name, self._jobs = store, progress, name, jobs
        self._planned: dict[StudyRun, int] = {}
        self._shown: dict[StudyRun, int] = {}
        self._tasks: dict[StudyRun, tuple[ExitStack, Advance]] = {}
        self._stack = ExitStack()
        self._seconds: list[float] = []

    def __enter__(self) -> StudyProgress:
        return self

    def __exit__(self, *_: object) -> None:
        for stack, _advance in self._tasks.values():
            stack.close()
        self._stack.close()

    def start(self, planned: dict[StudyRun, int]) -> None:
        """Show the bar of all runs, given roughly how many rounds each will have."""
        self._planned = planned
        task = self._progress.task(f"Rounds of study {self._name}", sum(planned.values()))
        self._all = self._stack.enter_context(task)
        self._shown = {run: min(self._rounds(run), planned[run]) for run in planned}  # by an earlier call
        self._all(sum(self._shown.values()))

    def start_run(self, run: StudyRun) -> None:
        """Show a bar for a run."""
        stack = ExitStack()
        task = self._progress.task(f"Rounds of {_name(run)}", self._planned[run])
        self._tasks[run] = stack, stack.enter_context(task)
        if self._shown[run]:
            self._tasks[run][1](self._shown[run])

    def update_run(self, run: StudyRun) -> None:
        """Advance a run's bar to the rounds that it has evaluated so far."""
        self._advance(run, min(self._rounds(run), self._planned[run]))

    def end_run(self, run: StudyRun, seconds: float, error: StarALError | None) -> None:
        """Replace a run's bar by a line with its result."""
        self._seconds.append(seconds)
        self._advance(run, self._planned.pop(run))
        self._tasks.pop(run)[0].close()
        result = f"failed: {error}" if error is not None else self._result(run)
        left = len(self._planned)
        remaining = ""
        if left:
            expected = sum(self._seconds) / len(self._seconds) * left / self._jobs
            remaining = f"; {count(left, 'run')} left, about {max(1, round(expected / 60))} min"
        self._progress.say(f"{_name(run)}: {result} ({seconds:.0f} s){remaining}")

    def _advance(self, run: StudyRun, rounds: int) -> None:
        n, self._shown[run] = rounds - self._shown[run], rounds
        if n:
            self._tasks[run][1](n)
            self._all(n)

    def _rounds(self, run: StudyRun) -> int:
        return sum(row["accuracy"] is not None for row in self._history(run))

    def _history(self, run: StudyRun) -> list[JsonObject]:
        campaign = self._store.find_campaign(run.campaign)
        if campaign is None:
            return []
        model = CampaignSpec.model_validate(campaign.config).ranking_model
        return rows_by_ranker(self._store.history(campaign.campaign_id), model)

    def _result(self, run: StudyRun) -> str:
        for row in reversed(self._history(run)):
            if isinstance(row["accuracy"], float):
                labels = count(cast("int", row["labels_bought"]), "label")
                return f"accuracy {row['accuracy']:.3f} with {labels}"
        return "no round was evaluated"


def _name(run: StudyRun) -> str:
    return f"{run.strategy}, seed {run.seed}"
