"""The campaign's project: found by the campaign's key, created or adopted, and kept as the campaign needs it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from star_al.annotators.label_studio import label_config
from star_al.annotators.label_studio.client import Client
from star_al.annotators.label_studio.ownership import Ownership
from star_al.annotators.label_studio.refusals import NotFoundError
from star_al.config.spec import LabelStudioSpec
from star_al.errors import AnnotatorError
from star_al.ports import StillOurs
from star_al.task import Task
from star_al.types import Campaign

TITLE_LENGTH = (3, 50)
"""The shortest and the longest title that the server allows."""

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
    """A project as it is on the server now.

    Attributes:
        project_id: Its number.
        title: As people see it.
        campaign_keys: Keys of the campaigns that its description and label config name.
        description: As people see it, with our mark.
        config: The label config.
        n_tasks: All its tasks.
        n_annotations: All their annotations, including skips.
        settings: Those that a campaign sets, by the server's names.
        time: The server's time of this state; None if it does not say.
    """

    project_id: int
    title: str
    campaign_keys: frozenset[str]
    description: str
    config: str
    n_tasks: int
    n_annotations: int
    settings: Mapping[str, Any]
    time: datetime | None


@dataclass(frozen=True)
class Plan:
    """What the campaign needs its project to be."""

    spec: LabelStudioSpec
    task: Task
    campaign: Campaign
    overlap: int

    def config(self) -> str:
        """Our label config."""
        return label_config.write(self.spec, self.task, self.campaign.key)

    def title(self) -> str:
        """The title of a new project."""
        shortest, longest = TITLE_LENGTH
        title = self.spec.title or self.campaign.name
        return (title if len(title) >= shortest else f"star_al {title}")[:longest]

    def mark(self) -> str:
        """The part of the description that says which campaign the project belongs to."""
        return (
            f"Tasks of the star_al campaign {self.campaign.name!r}. "
            f"Do not edit: star_al uses this to find the project ({label_config.mark(self.campaign.key)})."
        )

    def settings(self) -> dict[str, Any]:
        """All settings but the model version. Without guidelines, instructions that people wrote are kept."""
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


def read_project(client: Client, project_id: int) -> Project | None:
    """A project as it is now; None if there is none with this number."""
    try:
        reply = client.get(f"api/projects/{project_id}/", include=_FIELDS)
    except NotFoundError:
        return None
    return _project(reply.json, reply.time)


def find_project(client: Client, plan: Plan, known_ids: Sequence[int], *, expected: bool) -> Project | None:
    """Look for the campaign's project.

    Args:
        client: The server.
        plan: What the campaign needs. Where it has no tasks yet, a project that its config names comes first.
        known_ids: Projects that the campaign's tasks were in; the campaign stays there.
        expected: True if the campaign has had tasks, so that a missing project was deleted.

    Raises:
        AnnotatorError: The project that the config names cannot be used.
    """
    return (
        _first_of_ours(client, plan, known_ids)
        or _named_in_config(client, plan, expected)
        or next(iter(projects_of(client, plan.campaign.key)), None)
    )


def ensure_project(
    client: Client,
    plan: Plan,
    known_ids: Sequence[int],
    still_ours: StillOurs,
    ownership: Ownership,
    *,
    expected: bool,
) -> Project:
    """The campaign's project, created if there is none, with label config and settings as they should be.

    Args:
        client: The server.
        plan: What the campaign needs.
        known_ids: As for ``find_project``.
        still_ours: Called before each change.
        ownership: Tells whether the project may be used from this database.
        expected: As for ``find_project``.

    Raises:
        UnclearError: A change may or may not have been made; call again.
        AnnotatorError: The project cannot be used, or was deleted and must not be created again.
    """
    project = find_project(client, plan, known_ids, expected=expected)
    if project is not None:
        check_ownership(client, project, ownership)
        return _stamped(client, _brought_up_to_date(client, plan, project, still_ours), ownership, still_ours)
    if expected and plan.spec.deleted == "drop":
        raise AnnotatorError(
            f"{client.url}: the project of campaign {plan.campaign.name!r} was deleted, with all its tasks. "
            "Write `deleted: restore` under annotator to have it created again."
        )
    return _stamped(client, _create(client, plan, still_ours), ownership, still_ours)


def check_ownership(client: Client, project: Project, ownership: Ownership) -> None:
    """Check that the project is used from this database.

    Raises:
        AnnotatorError: Another database uses it.
    """
    where = f"{client.url}: project {project.project_id} ({project.title})"
    ownership.check(label_config.stamp(project.description), where)


def _stamped(client: Client, project: Project, ownership: Ownership, still_ours: StillOurs) -> Project:
    """The project with the stamp of this run."""
    new = ownership.next_stamp(label_config.stamp(project.description))
    if new is None:
        return project
    description = label_config.with_stamp(project.description, new)
    return update_project(client, project, {"description": description}, still_ours)


def delete_empty_duplicates(client: Client, key: str, kept: Project, still_ours: StillOurs) -> None:
    """Delete the campaign's other projects if they are empty: their creation succeeded but its reply was lost."""
    for other in projects_of(client, key):
        if other.project_id != kept.project_id and not other.n_tasks and not other.n_annotations:
            still_ours()
            client.send("DELETE", f"api/projects/{other.project_id}/", {})


def update_project(
    client: Client, project: Project, changes: Mapping[str, Any], still_ours: StillOurs
) -> Project:
    """Set fields of a project and return its new state.

    Raises:
        UnclearError: They may or may not have been set.
    """
    still_ours()
    reply = client.send("PATCH", f"api/projects/{project.project_id}/", {}, dict(changes))
    changed = _project(reply.json, reply.time)  # the reply has no counts
    return replace(changed, n_tasks=project.n_tasks, n_annotations=project.n_annotations, time=project.time)


def needs_our_config(client: Client, plan: Plan, project: Project) -> bool:
    """Return whether our label config has to replace the present one.

    The present one can stay if it is ours, or if people edited it and it still holds our labels.

    Raises:
        AnnotatorError: People edited it, and it can no longer hold our labels.
    """
    if project.config == plan.config():
        return False
    faults = label_config.faults(project.config, plan.task)
    if label_config.is_unedited(project.config) or (faults and _config_is_unused(project)):
        return True
    if faults:
        raise AnnotatorError(
            f"{client.url}: the label config of project {project.project_id} ({project.title}) was edited by "
            f"hand and can no longer hold the campaign's labels: {'; '.join(faults)}. "
            "To restore star_al's own, run `star-al label-config CONFIG --apply`."
        )
    return False


def set_config(client: Client, plan: Plan, project: Project, still_ours: StillOurs) -> Project:
    """Replace the label config by ours, after the server has validated it."""
    config = plan.config()
    path = f"api/projects/{project.project_id}/validate/"
    client.ask("POST", path, {}, {"label_config": config})
    return update_project(client, project, {"label_config": config}, still_ours)


def _named_in_config(client: Client, plan: Plan, expected: bool) -> Project | None:
    """The project that the campaign file names.

    Raises:
        AnnotatorError: It does not exist, is another campaign's, or has annotations of another kind.
    """
    if plan.spec.project is None:
        return None
    project = read_project(client, plan.spec.project)
    if project is None:
        if expected:
            return None  # it was ours and was deleted
        raise AnnotatorError(
            f"{client.url} has no project {plan.spec.project} that the token's user may see. "
            "Check annotator.project, or remove it to have a project created."
        )
    advice = "Name another one in annotator.project, or remove that line to have a project created."
    where = f"{client.url}: project {project.project_id} ({project.title})"
    if project.campaign_keys and plan.campaign.key not in project.campaign_keys:
        raise AnnotatorError(f"{where} belongs to another campaign. {advice}")
    if not project.campaign_keys and project.n_annotations:
        faults = label_config.faults(project.config, plan.task)
        if faults:
            raise AnnotatorError(f"{where} has annotations of another kind: {'; '.join(faults)}. {advice}")
    return project


def _first_of_ours(client: Client, plan: Plan, project_ids: Sequence[int]) -> Project | None:
    """The first of the projects that is still ours: a server that lost its database reuses numbers."""
    for project_id in project_ids:
        project = read_project(client, project_id)
        if project is not None and plan.campaign.key in project.campaign_keys:
            return project
    return None


def projects_of(client: Client, campaign_key: str) -> list[Project]:
    """All projects marked with the key; first the one to keep: with annotations, else with tasks, else the oldest."""
    found, page, more = [], 1, True
    while more:
        reply = client.get("api/projects/", page=page, page_size=100, include=_FIELDS)
        found += [_project(raw, reply.time) for raw in reply.json["results"]]
        more, page = bool(reply.json.get("next")), page + 1
    ours = [project for project in found if campaign_key in project.campaign_keys]
    return sorted(ours, key=lambda each: (each.n_annotations == 0, each.n_tasks == 0, each.project_id))


def _create(client: Client, plan: Plan, still_ours: StillOurs) -> Project:
    config = plan.config()
    client.ask("POST", "api/projects/validate/", {}, {"label_config": config})
    body = {
        **plan.settings(),
        "title": plan.title(),
        "description": plan.mark(),
        "label_config": config,
    }
    still_ours()
    reply = client.send("POST", "api/projects/", {}, body)
    return _project(reply.json, reply.time)


def _brought_up_to_date(client: Client, plan: Plan, project: Project, still_ours: StillOurs) -> Project:
    if plan.campaign.key not in project.description:
        description = f"{project.description}\n\n{plan.mark()}".strip()
        project = update_project(client, project, {"description": description}, still_ours)
    if needs_our_config(client, plan, project):
        project = set_config(client, plan, project, still_ours)
    settings = plan.settings()
    if any(project.settings.get(name) != value for name, value in settings.items()):
        # The server forgets the model version whenever predictions are set to be hidden.
        version = {"model_version": project.settings.get("model_version") or ""}
        project = update_project(client, project, {**settings, **version}, still_ours)
    return project


def _config_is_unused(project: Project) -> bool:
    """Return whether the label config is empty, or nobody has labelled with it."""
    return project.config.strip() in ("", "<View></View>", "<View/>") or (
        not project.campaign_keys and not project.n_annotations
    )


def _project(raw: Mapping[str, Any], time: datetime | None) -> Project:
    description, config = raw.get("description") or "", raw.get("label_config") or ""
    n_submitted, n_skipped = (raw.get(name) or 0 for name in _COUNTS[1:])
    return Project(
        project_id=raw["id"],
        title=raw.get("title") or "",
        campaign_keys=label_config.marks(description, config),
        description=description,
        config=config,
        n_tasks=raw.get("task_number") or 0,
        n_annotations=n_submitted + n_skipped,
        settings={name: raw.get(name) for name in _SETTINGS},
        time=time,
    )
