"""Delete a campaign's projects, as far as nothing else is in them."""

from __future__ import annotations

from dataclasses import dataclass

from star_al.annotators.label_studio.client import Client
from star_al.annotators.label_studio.project import Plan, Project, projects_of
from star_al.annotators.label_studio.tasks import list_tasks
from star_al.ports import StillOurs


@dataclass(frozen=True)
class EndedProjects:
    """Titles of the projects that were deleted, and of those that stay, with the reason."""

    deleted: tuple[str, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()


def delete_projects(client: Client, plan: Plan, still_ours: StillOurs) -> EndedProjects:
    """Delete the projects that star_al made for a campaign; a project with anything else in it stays.

    Raises:
        UnclearError: A project may or may not have been deleted; call again.
    """
    deleted, kept = [], []
    for project in projects_of(client, plan.campaign.key):
        reason = _why_it_stays(client, plan, project)
        if reason is not None:
            kept.append((project.title, reason))
            continue
        still_ours()
        client.send("DELETE", f"api/projects/{project.project_id}/", {})
        deleted.append(project.title)
    return EndedProjects(tuple(deleted), tuple(kept))


def _why_it_stays(client: Client, plan: Plan, project: Project) -> str | None:
    if plan.spec.project == project.project_id:
        return "star_al did not make it: annotator.project names it"
    if project.campaign_keys != {plan.campaign.key}:
        return "it also belongs to another campaign"
    if any(task.campaign_key != plan.campaign.key for task in list_tasks(client, project.project_id)):
        return "it has tasks that are not the campaign's"
    return None
