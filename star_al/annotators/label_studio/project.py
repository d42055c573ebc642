"""The campaign's project: found by the campaign's key, created, adopted, and kept as the campaign needs it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from star_al.annotators.label_studio import label_config
from star_al.annotators.label_studio.client import MissingError, Server
from star_al.config.spec import LabelStudioSpec
from star_al.errors import AnnotatorError
from star_al.ports import StillOurs
from star_al.task import ClosedTask
from star_al.types import Campaign

TITLE_LENGTH = (3, 50)
"""What the server allows."""

_SETTINGS = (
    "sampling",
    "maximum_annotations",
    "overlap_cohort_percentage",
    "show_collab_predictions",
    "expert_instruction",
    "show_instruction",
    "show_skip_button",
    "skip_queue",
    "model_version",
)
_COUNTS = ("task_number", "total_annotations_number", "skipped_annotations_number")
_FIELDS = ",".join(("id", "title", "description", "label_config", *_SETTINGS, *_COUNTS))


@dataclass(frozen=True)
class Project:
    """A project as the server has it now.

    ``keys`` are those of campaigns that its description and label config name. ``answers`` counts skips, too;
    ``time`` is the server's.
    """

    project_id: int
    title: str
    keys: frozenset[str]
    description: str
    config: str
    tasks: int
    answers: int
    settings: Mapping[str, Any]
    time: datetime | None


@dataclass(frozen=True)
class Plan:
    """What the campaign wants of its project."""

    spec: LabelStudioSpec
    task: ClosedTask
    campaign: Campaign
    overlap: int

    def config(self) -> str:
        """Our label config."""
        return label_config.write(self.spec, self.task, self.campaign.key)

    def title(self) -> str:
        """Of a new project."""
        shortest, longest = TITLE_LENGTH
        title = self.spec.title or self.campaign.name
        return (title if len(title) >= shortest else f"star_al {title}")[:longest]

    def mark(self) -> str:
        """The lines of the description that tell people, and us, whose project it is."""
        return (
            f"Tasks of the star_al campaign {self.campaign.name!r}. "
            f"Keep this mark, by which star_al finds it: {label_config.mark(self.campaign.key)}"
        )

    def settings(self) -> dict[str, Any]:
        """All settings but the model version; instructions that people wrote stay without guidelines."""
        settings: dict[str, Any] = {
            "sampling": "Uncertainty sampling",
            "maximum_annotations": self.overlap,
            "overlap_cohort_percentage": 100,
            "show_collab_predictions": self.spec.show_prediction,
            "show_skip_button": True,
            "skip_queue": "REQUEUE_FOR_OTHERS",
        }
        if self.spec.guidelines is not None:
            escaped = html.escape(self.spec.guidelines, quote=False)
            settings["expert_instruction"] = escaped.replace("\n", "<br>")
            settings["show_instruction"] = True
        return settings


def read(server: Server, project_id: int) -> Project | None:
    """A project as it is now; null if there is none of this id."""
    try:
        reply = server.get(f"api/projects/{project_id}/", include=_FIELDS)
    except MissingError:
        return None
    return _project(reply.json, reply.time)


def carrying(server: Server, key: str) -> list[Project]:
    """All projects of a campaign, the one to keep first: with answers, with tasks, the oldest."""
    found, page, more = [], 1, True
    while more:
        reply = server.get("api/projects/", page=page, page_size=100, include=_FIELDS)
        found += [_project(raw, reply.time) for raw in reply.json["results"]]
        more, page = bool(reply.json.get("next")), page + 1
    ours = [project for project in found if key in project.keys]
    return sorted(ours, key=lambda each: (each.answers == 0, each.tasks == 0, each.project_id))


def find(server: Server, plan: Plan, ids: Sequence[int], *, expected: bool) -> Project | None:
    """The campaign's project: the one that the config names, one of ``ids``, or any that carries the key.

    ``expected``: the campaign has had tasks, so that none means that it was deleted.

    Raises:
        AnnotatorError: the one that the config names cannot be used.
    """
    return (
        _adopted(server, plan, expected)
        or _known(server, plan, ids)
        or next(iter(carrying(server, plan.campaign.key)), None)
    )


def settle(
    server: Server, plan: Plan, ids: Sequence[int], still_ours: StillOurs, *, expected: bool
) -> Project:
    """The campaign's project, made if there is none, with label config and settings as they should be.

    Raises:
        UnclearError: nobody can say whether a change was made; call again.
        AnnotatorError: it cannot be used, or was deleted and is not to be made again.
    """
    project = find(server, plan, ids, expected=expected)
    if project is not None:
        return _brought_up_to_date(server, plan, project, still_ours)
    if expected and plan.spec.deleted == "drop":
        raise AnnotatorError(
            f"{server.url}: the project of campaign {plan.campaign.name!r} is gone, with its tasks. "
            "Write `deleted: restore` under annotator to have it made again."
        )
    return _create(server, plan, still_ours)


def delete_blank_extras(server: Server, key: str, kept: Project, still_ours: StillOurs) -> None:
    """Delete further projects of the campaign, left by a creation whose answer was lost, if nothing is in them."""
    for extra in carrying(server, key):
        if extra.project_id != kept.project_id and not extra.tasks and not extra.answers:
            still_ours()
            server.send("DELETE", f"api/projects/{extra.project_id}/", {})


def change(server: Server, project: Project, changes: Mapping[str, Any], still_ours: StillOurs) -> Project:
    """Set fields of a project.

    Raises:
        UnclearError: nobody can say whether they are set.
    """
    still_ours()
    reply = server.send("PATCH", f"api/projects/{project.project_id}/", {}, dict(changes))
    changed = _project(reply.json, reply.time)  # without counts
    return replace(changed, tasks=project.tasks, answers=project.answers, time=project.time)


def wanted_config(server: Server, plan: Plan, project: Project) -> str | None:
    """The label config to set; null where the present one does, ours or one that people made of it.

    Raises:
        AnnotatorError: people made something of it that cannot hold our labels.
    """
    ours = plan.config()
    if project.config == ours:
        return None
    faults = label_config.faults(project.config, plan.task)
    if label_config.is_unedited(project.config) or (faults and _is_blank(project)):
        return ours
    if faults:
        raise AnnotatorError(
            f"{server.url}: the label config of project {project.project_id} ({project.title}) was changed by "
            f"hand and cannot hold the campaign's labels: {'; '.join(faults)}. "
            "`star-al label-config CONFIG --apply` puts ours back."
        )
    return None


def set_config(server: Server, plan: Plan, project: Project, still_ours: StillOurs) -> Project:
    """Replace the label config by ours, after the server has checked it."""
    config = plan.config()
    path = f"api/projects/{project.project_id}/validate/"
    server.ask("POST", path, {}, {"label_config": config})
    return change(server, project, {"label_config": config}, still_ours)


def _adopted(server: Server, plan: Plan, expected: bool) -> Project | None:
    """The project that the config names.

    Raises:
        AnnotatorError: it does not exist, is another campaign's, or holds answers that ours cannot join.
    """
    if plan.spec.project is None:
        return None
    project = read(server, plan.spec.project)
    if project is None:
        if expected:
            return None  # it was ours, and was deleted
        raise AnnotatorError(
            f"{server.url} has no project {plan.spec.project}, or none that the token's user may see. "
            "Check annotator.project, or leave it out to have one made."
        )
    if project.keys and plan.campaign.key not in project.keys:
        raise AnnotatorError(
            f"{server.url}: project {project.project_id} ({project.title}) belongs to another campaign. "
            "Name another in annotator.project, or leave it out to have one made."
        )
    if not project.keys and project.answers and label_config.faults(project.config, plan.task):
        raise AnnotatorError(
            f"{server.url}: project {project.project_id} ({project.title}) has annotations of another kind: "
            f"{'; '.join(label_config.faults(project.config, plan.task))}. "
            "Name another in annotator.project, or leave it out to have one made."
        )
    return project


def _known(server: Server, plan: Plan, ids: Sequence[int]) -> Project | None:
    """The first of the ids that is still ours: after a lost database another project may have it."""
    for project_id in ids:
        project = read(server, project_id)
        if project is not None and plan.campaign.key in project.keys:
            return project
    return None


def _create(server: Server, plan: Plan, still_ours: StillOurs) -> Project:
    config = plan.config()
    server.ask("POST", "api/projects/validate/", {}, {"label_config": config})
    body = {
        **plan.settings(),
        "title": plan.title(),
        "description": plan.mark(),
        "label_config": config,
    }
    still_ours()
    reply = server.send("POST", "api/projects/", {}, body)
    return _project(reply.json, reply.time)


def _brought_up_to_date(server: Server, plan: Plan, project: Project, still_ours: StillOurs) -> Project:
    if plan.campaign.key not in project.description:
        description = f"{project.description}\n\n{plan.mark()}".strip()
        project = change(server, project, {"description": description}, still_ours)
    if wanted_config(server, plan, project) is not None:
        project = set_config(server, plan, project, still_ours)
    settings = plan.settings()
    if any(project.settings.get(name) != value for name, value in settings.items()):
        # the server forgets the model version whenever it is told to hide predictions
        version = {"model_version": project.settings.get("model_version") or ""}
        project = change(server, project, {**settings, **version}, still_ours)
    return project


def _is_blank(project: Project) -> bool:
    """Whether nobody has put a label config of their own there, or nothing was labelled with it."""
    return project.config.strip() in ("", "<View></View>", "<View/>") or (
        not project.keys and not project.answers
    )


def _project(raw: Mapping[str, Any], time: datetime | None) -> Project:
    description, config = raw.get("description") or "", raw.get("label_config") or ""
    return Project(
        project_id=raw["id"],
        title=raw.get("title") or "",
        keys=label_config.marks(description, config),
        description=description,
        config=config,
        tasks=raw.get("task_number") or 0,
        answers=(raw.get("total_annotations_number") or 0) + (raw.get("skipped_annotations_number") or 0),
        settings={name: raw.get(name) for name in _SETTINGS},
        time=time,
    )
