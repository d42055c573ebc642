"""The SDK's own active-learning example beside a campaign, on the same server and even in the same project.

The example is examples/active_learning of HumanSignal/label-studio-sdk; its calls are made here in its order,
with fixed scores in the place of its model.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from label_studio_sdk.client import LabelStudio as Sdk
from label_studio_sdk.core.api_error import ApiError

from support.label_studio_server import LabelStudio
from support.schedule_run import Ending, Run
from support.schedules import Schedule, Theme

TITLE = "AL Project Created from SDK"
CONFIG = """
<View>
  <Text name="text" value="$text"/>
  <Choices name="sentiment" toName="text" choice="single" showInLine="true">
    <Choice value="Positive"/>
    <Choice value="Negative"/>
    <Choice value="Neutral"/>
  </Choices>
</View>
"""
TEXTS = ("I love this product!", "This is terrible", "Meh, it is okay", "Absolutely fantastic", "Not good")
LABELS = ("Positive", "Negative", "Neutral")


class Example:
    """The example's two scripts, on a project of their own or on the one that they are told."""

    def __init__(self, server: LabelStudio, project: int | None = None) -> None:
        self.sdk: Any = Sdk(base_url=server.url, api_key=server.token)  # type: ignore[no-untyped-call]
        self.project = self._own_project() if project is None else project
        self.made: list[int] = []
        self.predicted: list[int] = []
        self.model_version = ""

    def _own_project(self) -> int:
        for project in self.sdk.projects.list():
            if project.title == TITLE:
                return int(project.id)
        return int(self.sdk.projects.create(title=TITLE, label_config=CONFIG).id)

    def prepopulate(self) -> None:
        """Make tasks, annotate three of them."""
        tasks = [self.sdk.tasks.create(project=self.project, data={"text": text}) for text in TEXTS]
        self.made += [int(task.id) for task in tasks]
        for task, label in zip(tasks, LABELS, strict=False):
            self.sdk.annotations.create(id=task.id, result=[_sentiment(label)], was_cancelled=False)

    def one_round(self) -> None:
        """Read what is annotated, predict up to ten tasks that are not, make these predictions the current ones."""
        self.sdk.projects.update(id=self.project, sampling="Uncertainty sampling")
        everything = list(self.sdk.tasks.list(project=self.project, fields="all"))
        annotated = {task.id for task in everything if task.annotations}
        listed = list(self.sdk.tasks.list(project=self.project, fields="task_only"))
        batch = [task for task in listed if task.id not in annotated][:10]
        self.model_version = f"model_{len(annotated)}"
        for number, task in enumerate(batch):
            self.sdk.predictions.create(
                task=task.id,
                result=[_sentiment(LABELS[number % len(LABELS)])],
                score=number / 10,
                model_version=self.model_version,
            )
            self.predicted.append(int(task.id))
        self.sdk.projects.update(id=self.project, model_version=self.model_version)


def _sentiment(label: str) -> dict[str, object]:
    return {"from_name": "sentiment", "to_name": "text", "type": "choices", "value": {"choices": [label]}}


def test_the_example_in_its_own_project_and_a_campaign_leave_each_other_alone(
    label_studio: LabelStudio, tmp_path: Path
) -> None:
    plan = Schedule(1, Theme.EVERYTHING, faults=())
    run = Run(plan, tmp_path / "beside", label_studio)
    example = Example(label_studio)
    example.prepopulate()
    done = threading.Event()

    def go_on() -> None:
        while not done.wait(0.1):
            example.one_round()

    neighbour = threading.Thread(target=go_on)
    neighbour.start()
    try:
        result = run.go()
    finally:
        done.set()
        neighbour.join()
    assert result.verdict.complaints == []
    assert result.endings == [Ending.DONE]
    project = example.sdk.projects.get(id=example.project)
    assert (project.title, project.model_version) == (TITLE, example.model_version)
    assert (project.sampling, project.maximum_annotations) == ("Uncertainty sampling", 1)
    tasks = list(example.sdk.tasks.list(project=example.project, fields="all"))
    assert [task.id for task in tasks] == example.made
    assert [len(task.annotations) for task in tasks] == [1, 1, 1, 0, 0]
    assert set(example.predicted) == set(example.made[3:])


def test_the_example_let_loose_on_the_campaigns_project_changes_none_of_its_labels(
    label_studio: LabelStudio, tmp_path: Path
) -> None:
    """Tasks that are not the campaign's stay as they are and count for nothing; its own keep their answers."""
    plan = Schedule(2, Theme.EVERYTHING, faults=())
    run = Run(plan, tmp_path / "within", label_studio)
    done = threading.Event()
    examples: list[Example] = []

    def intrude() -> None:
        while not done.wait(0.1):
            if not examples and (projects := run.side.projects()):
                examples.append(Example(label_studio, int(projects[0]["id"])))
                examples[0].prepopulate()
            if examples:
                with suppress(ApiError):  # of a task that the campaign has just thrown away
                    examples[0].one_round()

    intruder = threading.Thread(target=intrude)
    intruder.start()
    try:
        result = run.go()
    finally:
        done.set()
        intruder.join()
    assert result.verdict.complaints == []
    assert result.endings == [Ending.DONE]
    (example,) = examples
    foreign = [example.sdk.tasks.get(id=task) for task in example.made]
    assert [len(task.annotations) for task in foreign] == [1, 1, 1, 0, 0]
