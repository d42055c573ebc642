"""What the owner of a campaign should know of its project, in words: what somebody changed, what does not count."""

from __future__ import annotations

from star_al.annotators.label_studio import label_config
from star_al.annotators.label_studio.known_tasks import KnownTasks
from star_al.annotators.label_studio.project import Plan, Project


def notes(plan: Plan, project: Project, known_tasks: KnownTasks, url: str) -> tuple[str, ...]:
    """Each problem in one sentence, without a capital or a full stop.

    Args:
        plan: What the campaign needs its project to be.
        project: The project.
        known_tasks: Its tasks.
        url: The address of its task list.
    """
    found = [*_about_place(plan, project, url), *_about_config(plan, project, url)]
    for task_id in known_tasks.edited():
        found.append(
            f"the text of task {task_id} was changed in Label Studio, so answers given since do not count; restore "
            f"the text, or delete the task to have it created again ({url}?task={task_id})"
        )
    for task_id, refused in known_tasks.refused():
        found.append(
            f"the answer by {refused.person} to task {task_id} does not count: {refused.reason}; correct or delete it "
            f"({url}?task={task_id})"
        )
    return tuple(found)


def _about_place(plan: Plan, project: Project, url: str) -> list[str]:
    """Whether the campaign file names another project than the one that the campaign's tasks are in."""
    named = plan.spec.project
    if named in (None, project.project_id):
        return []
    return [
        f"annotator.project is {named}, but the campaign's tasks are in project {project.project_id} ({url}) and stay "
        f"there; write {project.project_id}, or remove the line"
    ]


def _about_config(plan: Plan, project: Project, url: str) -> list[str]:
    """What is wrong with a label config that people wrote or edited."""
    if project.config == plan.config() or label_config.is_unedited(project.config):
        return []
    where = f"the label config of project {project.project_id} ({url})"
    faults = label_config.faults(project.config, plan.task)
    if faults:
        return [
            f"{where} can no longer collect the campaign's labels: {'; '.join(faults)}; restore star_al's own with "
            "`star-al label-config CONFIG --apply`"
        ]
    remarks = label_config.remarks(project.config, plan.task, plan.spec.unsure)
    return [f"{where} was not made by star_al: {'; '.join(remarks)}"] if remarks else []
