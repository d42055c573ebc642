"""The campaign's project: found by its key, adopted or refused, and kept as the campaign needs it."""

from __future__ import annotations

from typing import Any

import pytest

from star_al.config.spec import task_spec
from star_al.errors import AnnotatorError
from support.label_studio_campaign import CLASSES, World, queries
from support.label_studio_server import LabelStudio

PLAIN = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text">'
    '<Choice value="pos"/><Choice value="neg"/></Choices></View>'
)
THREE = task_spec({"kind": "classification", "labels": ["neg", "pos", "mixed"]})


def _project(world: World) -> dict[str, Any]:
    project: dict[str, Any] = world.owner.call("get", f"/api/projects/{world.project}/")
    return project


def _made_by_hand(world: World, config: str = "<View></View>") -> int:
    body = {"title": "made by hand", "description": "My notes.", "label_config": config}
    return int(world.owner.call("post", "/api/projects/", json=body)["id"])


def _edit(world: World, old: str, new: str) -> None:
    config = _project(world)["label_config"]
    assert old in config
    path = f"/api/projects/{world.project}/"
    world.owner.call("patch", path, json={"label_config": config.replace(old, new)})


def test_a_new_project_has_what_the_campaign_needs(label_studio: LabelStudio) -> None:
    world = World(label_studio, overlap=2, guidelines="Read <b> & think.\nThen label.")
    assert world.annotator.place is None
    assert "star-al run` creates it" in world.annotator.examine_project()
    world.ensure([])
    assert world.annotator.place is None and "creates it" in world.annotator.examine_project()
    world.ensure(queries(2, wanted=2))
    project = _project(world)
    assert project["title"] == "test campaign"
    assert project["sampling"] == "Uncertainty sampling"
    assert project["maximum_annotations"] == 2
    assert project["skip_queue"] == "REQUEUE_FOR_OTHERS"
    assert project["show_collab_predictions"] is False
    assert project["model_version"] == "star_al round 001"
    assert project["expert_instruction"] == "Read &lt;b&gt; &amp; think.<br>Then label."
    assert project["show_instruction"] and project["show_skip_button"]
    assert world.annotator.place == f"{label_studio.url}/projects/{project['id']}/data"
    assert "test campaign, 2 tasks, 0 annotations" in world.annotator.examine_project()


def test_it_is_found_by_its_key_whatever_it_is_called(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    world.ensure(queries(1))
    first = world.project
    World(label_studio).ensure(queries(1))  # another campaign of the same name
    world.owner.call("patch", f"/api/projects/{first}/", json={"title": "renamed", "description": "mine"})
    world.known.clear()
    world.restart()
    world.ensure(queries(1))
    assert world.project == first
    assert _project(world)["title"] == "renamed"
    assert world.key in _project(world)["description"]


def test_settings_that_somebody_changed_are_put_back(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    world.ensure(queries(2))
    changes = {"sampling": "Sequential sampling", "show_collab_predictions": True, "title": "mine"}
    world.owner.call("patch", f"/api/projects/{world.project}/", json=changes)
    world.owner.call("patch", f"/api/projects/{world.project}/", json={"show_collab_predictions": False})
    world.ensure(queries(2))
    project = _project(world)
    assert (project["sampling"], project["model_version"]) == ("Uncertainty sampling", "star_al round 001")
    assert project["title"] == "mine"


def test_a_blank_second_project_of_the_campaign_goes(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    world.ensure(queries(1))
    kept = world.project
    twin = {"title": "test campaign", "description": f"star_al:{world.key}"}
    extra = world.owner.call("post", "/api/projects/", json=twin)["id"]
    world.restart()
    world.ensure(queries(1))
    there = {project["id"] for project in world.owner.call("get", "/api/projects/?page_size=1000")["results"]}
    assert int(kept) in there and extra not in there


def test_a_blank_project_is_adopted_with_its_notes(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    number = _made_by_hand(world)
    world.spec["project"] = number
    world.restart()
    assert world.annotator.examine_project().endswith("replaces its label config")
    world.ensure(queries(1))
    assert "replaces" not in world.annotator.examine_project()
    assert world.project == str(number)
    project = _project(world)
    assert project["title"] == "made by hand"
    assert project["description"].startswith("My notes.") and world.key in project["description"]
    assert 'name="label"' in project["label_config"]


def test_a_project_whose_config_fits_keeps_it(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    config = PLAIN.replace("</Choices>", '<Choice value="other"/></Choices>')
    world.spec["project"] = _made_by_hand(world, config)
    world.restart()
    world.ensure(queries(1))
    assert _project(world)["label_config"] == config
    assert "also offers 'other', which is not a label of the campaign" in world.poll().notes[0]


def test_a_project_in_which_people_choose_several_labels_is_refused(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    config = PLAIN.replace('toName="text"', 'toName="text" choice="multiple"')
    world.spec["project"] = number = _made_by_hand(world, config)
    (task,) = world.owner.call(
        "post", f"/api/projects/{number}/import?return_task_ids=true", json=[{"data": {"text": "x"}}]
    )["task_ids"]
    world.owner.answer(task, "pos")
    world.restart()
    with pytest.raises(AnnotatorError, match="let people choose several labels"):
        world.annotator.examine_project()
    with pytest.raises(AnnotatorError, match="let people choose several labels"):
        world.ensure(queries(1))


def test_what_cannot_be_adopted_is_refused(label_studio: LabelStudio) -> None:
    other = World(label_studio)
    other.ensure(queries(1))
    world = World(label_studio, project=int(other.project))
    with pytest.raises(AnnotatorError, match="another campaign"):
        world.ensure(queries(1))
    world = World(label_studio, project=99999)
    with pytest.raises(AnnotatorError, match="no project 99999"):
        world.ensure(queries(1))
    stars = '<View><Text name="t" value="$text"/><Rating name="stars" toName="t"/></View>'
    world.spec["project"] = number = _made_by_hand(world, stars)
    path = f"/api/projects/{number}/import?return_task_ids=true"
    (task,) = world.owner.call("post", path, json=[{"data": {"text": "x"}}])["task_ids"]
    rated = [{"from_name": "stars", "to_name": "t", "type": "rating", "value": {"rating": 3}}]
    world.owner.call("post", f"/api/tasks/{task}/annotations/", json={"result": rated})
    world.restart()
    with pytest.raises(AnnotatorError, match="annotations of another kind"):
        world.ensure(queries(1))
    there = world.owner.call("get", f"/api/projects/{number}/")
    assert (there["label_config"], there["description"]) == (stars, "My notes.")


def test_another_project_named_later_is_told_and_the_campaign_stays(label_studio: LabelStudio) -> None:
    world, asked = World(label_studio), queries(2)
    world.ensure(asked[:1])
    first = world.project
    for named in (_made_by_hand(world), 99999):
        world.spec["project"] = named
        world.restart()
        world.ensure(asked)
        assert world.project == first
        (note,) = world.poll().notes
        assert note.startswith(
            f"annotator.project is {named}, but the campaign's tasks are in project {first} ("
        )


def test_a_project_with_the_mark_of_an_earlier_version_is_found(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    world.ensure(queries(1))
    first, description = world.project, _project(world)["description"]
    assert "Do not edit: star_al uses this to find the project" in description
    old = f"Keep this mark, by which star_al finds it: star_al:{world.key}"
    world.owner.call("patch", f"/api/projects/{first}/", json={"description": old, "label_config": PLAIN})
    world.known.clear()
    world.restart()
    world.ensure(queries(1))
    assert world.project == first and _project(world)["description"].startswith(f"{old} star_al-database:")


def test_labels_added_in_mid_campaign_reach_the_project(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    world.ensure(queries(2))
    world.owner.answer(world.task_of(queries(1)[0]), "pos")
    world.task = THREE
    world.restart()
    world.ensure(queries(2))
    assert 'alias="mixed"' in _project(world)["label_config"]
    assert [each.value for each in world.poll().annotations] == ["pos"]


def test_an_edit_by_hand_stays_as_long_as_it_fits(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    world.ensure(queries(1))
    _edit(world, 'size="4"', 'size="2"')
    world.restart()
    world.ensure(queries(1))
    assert 'size="2"' in _project(world)["label_config"]
    world.task = THREE
    world.restart()
    with pytest.raises(AnnotatorError, match=r"lacks 1 label: 'mixed'.*label-config CONFIG --apply"):
        world.ensure(queries(1))


def test_a_config_edited_into_nonsense_is_told_and_put_back_on_request(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    world.ensure(queries(1))
    nonsense = {"label_config": '<View><Text name="body" value="$body"/></View>'}
    world.owner.call("patch", f"/api/projects/{world.project}/", json=nonsense)
    world.restart()
    with pytest.raises(AnnotatorError, match='no Choices with name="label"'):
        world.ensure(queries(1))
    with pytest.raises(AnnotatorError, match="--apply"):
        world.annotator.examine_project()
    assert world.annotator.apply_label_config().startswith(label_studio.url)
    world.restart()
    world.ensure(queries(1))
    assert 'name="label"' in _project(world)["label_config"]


def test_applying_needs_a_project(label_studio: LabelStudio) -> None:
    with pytest.raises(AnnotatorError, match="star-al run"):
        World(label_studio, CLASSES).annotator.apply_label_config()


def test_short_and_long_titles_are_made_to_fit(label_studio: LabelStudio) -> None:
    for title, shown in (("ab", "star_al ab"), ("x" * 60, "x" * 50)):
        world = World(label_studio, title=title)
        world.ensure(queries(1))
        assert _project(world)["title"] == shown


def test_a_database_and_its_copy_do_not_share_a_project(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    asked = queries(3)
    world.ensure(asked)
    world.restart()
    world.ensure(asked)  # the original goes on as often as it likes
    copied = world.copy()
    world.restart()
    world.ensure(asked)
    with pytest.raises(AnnotatorError, match=r"another database.*db separate CONFIG.*db claim CONFIG"):
        copied.ensure(queries(5))
    tasks = world.tasks()
    assert len(tasks) == 3
    world.poll()
    copied.stamps = None  # as `star-al db claim` does
    copied.ensure(asked)
    with pytest.raises(AnnotatorError, match="another database"):
        world.poll()
    world.restart()
    with pytest.raises(AnnotatorError, match="another database"):
        world.ensure(asked)
    assert [task["id"] for task in copied.tasks()] == [task["id"] for task in tasks]
    assert _project(copied)["description"].count("star_al-database:") == 1


def test_a_campaign_of_an_earlier_version_puts_its_stamp(label_studio: LabelStudio) -> None:
    world = World(label_studio)
    world.ensure(queries(2))
    path = f"/api/projects/{world.project}/"
    description = _project(world)["description"].partition(" star_al-database")[0]
    world.owner.call("patch", path, json={"description": description})
    world.stamps = None
    world.restart()
    world.ensure(queries(2))
    assert (
        world.stamps is not None and f"star_al-database:{world.stamps[0]}" in _project(world)["description"]
    )
    assert len(world.tasks()) == 2
