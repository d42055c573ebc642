"""What is asked about items: an interface, and a class for each kind of task, a module each."""

from collections.abc import Callable, Mapping
from typing import Any

from star_al.config.spec import TaskSpec
from star_al.task.classification import Classification
from star_al.task.closed import ClosedTask, closed
from star_al.task.multi_label import MultiLabel
from star_al.task.multiple_choice import LETTERS, MultipleChoice
from star_al.task.preference import SIDES, Preference
from star_al.task.protocol import Task
from star_al.task.rating import Rating
from star_al.task.text import Text

KINDS: Mapping[str, Callable[[Any], Task]] = {
    "classification": Classification,
    "multiple_choice": MultipleChoice,
    "rating": Rating,
    "text": Text,
    "multi_label": MultiLabel,
    "preference": Preference,
}


def make_task(spec: TaskSpec) -> Task:
    """Make the task that a campaign's ``task`` section describes."""
    return KINDS[spec.kind](spec)


__all__ = ["KINDS", "LETTERS", "SIDES", "ClosedTask", "MultiLabel", "Task", "Text", "closed", "make_task"]
