"""Labels are renamed or merged in a running campaign: answers stay as given, rounds as they were trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from star_al.annotators.label_studio import label_config
from star_al.app import running
from star_al.app.renaming import rename_label
from star_al.app.stores import open_store
from star_al.config.changes import changed_fields, renamed_labels
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile, CampaignSpec, LabelStudioSpec
from star_al.errors import ConfigError
from star_al.labelling.renaming import relabel
from star_al.ports import Store
from star_al.task import ClosedTask, closed, make_task
from star_al.types import Annotation, Campaign, Item, Label, QueryState, Role
from support.campaigns import make_rows, write_campaign, write_jsonl
from support.kill_at import use_numpy_learner
from support.memory_store import MemoryStore
from support.quiet import Quiet
from support.records import EVENT, campaign, held, query, source


def task_of(folder: Path, **changes: Any) -> ClosedTask:
    return closed(make_task(load_campaign(write_campaign(folder, **changes)).spec.task))


def test_an_old_name_is_read_as_the_new_one(tmp_path: Path) -> None:
    task = task_of(
        tmp_path,
        task__labels=["sport", "other"],
        task__renamed={"business": "money", "Money": "other", "no": "sport"},
    )
    assert [task.find((), name) for name in (" BUSINESS", "money", "other", "no", "sport", "tech")] == [
        "other",
        "other",
        "other",
        "sport",
        "sport",
        None,
    ]
    assert task.parse(Item("a", "text"), "Business") == "other"


@pytest.mark.parametrize(
    ("renamed", "message"),
    [
        ({"sport": "business"}, "still one of the labels"),
        ({"a": "nothing"}, "does not lead to one of the labels"),
        ({"a": "b", "b": "a"}, "does not lead to one of the labels"),
        ({"a": "sport", " A": "sport"}, "are equal: letter case"),
    ],
)
def test_a_name_must_lead_to_a_label(tmp_path: Path, renamed: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        task_of(tmp_path, task__renamed=renamed)


# -- what a running campaign accepts -------------------------------------------------------------------


def change(tmp_path: Path, **changes: Any) -> tuple[list[str], dict[str, str]]:
    """The refused settings and the renamed labels when a campaign's file is changed."""
    before = load_campaign(write_campaign(tmp_path, task__renamed={"it": "tech"})).spec
    stored = before.model_dump(mode="json")
    now = load_campaign(write_campaign(tmp_path, **changes)).spec
    return changed_fields(stored, now, trained=True), renamed_labels(stored, now)


def test_labels_may_be_renamed_merged_and_added_at_once(tmp_path: Path) -> None:
    refused, renamed = change(
        tmp_path,
        task__labels=["money", "tech", "new"],
        task__renamed={"it": "tech", "sport": "money", "business": "money"},
    )
    assert refused == [] and renamed == {"sport": "money", "business": "money"}


@pytest.mark.parametrize(
    "changes",
    [
        {"task__labels": ["sport", "business"], "task__renamed": {"it": "business"}},
        {"task__labels": ["sport", "business", "tech"], "task__renamed": {}},
        {
            "task__labels": [{"name": "sport", "verbaliser": "games"}, "business", "IT!"],
            "task__renamed": {"it": "IT!", "tech": "IT!"},
        },
    ],
    ids=["a label is lost", "an earlier name is lost", "another wording"],
)
def test_a_change_that_loses_a_name_or_changes_a_wording_is_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    refused, renamed = change(tmp_path, **changes)
    assert refused and renamed == {}


# -- labels and answers --------------------------------------------------------------------------------

SPEC = CampaignSpec.model_validate(
    {
        "name": "one",
        "data": {"path": "pool.jsonl"},
        "task": {
            "kind": "classification",
            "labels": ["sport", "it"],
            "renamed": {"tech": "it", "chips": "it"},
        },
        "model": {"name": "model"},
        "annotator": {"kind": "api"},
        "labelling": {"overlap": 2},
    }
)


def answered(answers: dict[str, list[str]], state: dict[str, QueryState]) -> tuple[Store, Campaign]:
    """A campaign whose items got these answers, and ended in these states with the first answer as label."""
    store = MemoryStore()
    made = campaign(store, [source(name) for name in answers])
    lease = held(store, made)
    store.add_queries(lease, [query(name, wanted=2) for name in answers], EVENT)
    for name, values in answers.items():
        store.mirror(
            lease,
            "api",
            [
                Annotation(f"{name}{n}", f"q-{name}-1", value, annotator=f"p{n}")
                for n, value in enumerate(values)
            ],
        )
    done = {name for name, ending in state.items() if ending is QueryState.LABELLED}
    store.close_queries(
        lease,
        [(f"q-{name}-1", Label(name, answers[name][0])) for name in sorted(done)],
        [],
        disputed=[f"q-{name}-1" for name, ending in state.items() if ending is QueryState.SKIPPED],
    )
    return store, made


def test_a_merge_renames_labels_and_settles_disputes_from_the_same_answers() -> None:
    labelled, disputed = QueryState.LABELLED, QueryState.SKIPPED
    store, made = answered(
        {
            "a": ["tech", "tech"],
            "b": ["sport", "sport"],
            "c": ["tech", "chips"],
            "d": ["tech", "sport"],
            "e": ["sport", "tech", "chips"],
            "f": ["tech"],
        },
        {"a": labelled, "b": labelled, "c": disputed, "d": disputed, "e": labelled},
    )
    found = relabel(store, made.campaign_id, SPEC)
    assert [(label.item_id, label.value) for label in found.relabelled] == [("a", "it")]
    assert sorted((query_id, label.value) for query_id, label in found.settled) == [
        ("q-c-1", "it"),
        ("q-e-1", "it"),
    ], "d is disputed as before, and f waits for its second answer"


# -- a whole campaign ----------------------------------------------------------------------------------


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a campaign file on SQLite with the NumPy learner."""
    use_numpy_learner(monkeypatch.setattr)

    def once(path: Path, rounds: int = 1) -> None:
        running.run(load_campaign(path), Quiet(), max_rounds=rounds)

    return once


def opened(file: CampaignFile) -> tuple[Store, Campaign]:
    store = open_store(file)
    found = store.find_campaign(file.spec.name)
    assert found is not None
    return store, found


def test_a_campaign_goes_on_under_new_names_and_its_rounds_replay(
    tmp_path: Path, run: Callable[..., None]
) -> None:
    path = write_campaign(tmp_path, labelling={"overlap": 2}, annotator__accuracy=0.7, stopping__max_rounds=5)
    run(path, 2)
    store, made = opened(load_campaign(path))
    before = store.annotations(made.campaign_id)
    assert rename_label(load_campaign(path), "tech", "technology") is False
    run(path)
    assert rename_label(load_campaign(path), "sport", "business") is True
    run(path)
    task = closed(make_task(load_campaign(path).spec.task))
    assert load_campaign(path).spec.task.label_names == ("business", "technology")
    labels = store.labels(made.campaign_id)
    assert {label.value for label in labels.values()} == {"business", "technology"}
    known = {each.external_id: each.value for each in store.annotations(made.campaign_id)}
    assert all(known[each.external_id] == each.value for each in before), "answers stay as they were given"
    assert {label.value for label in store.training_labels(made.campaign_id, 1)} <= {
        "tech",
        "sport",
        "business",
    }
    for query_ in store.queries(made.campaign_id):
        votes = {
            task.find((), each.value)
            for each in store.annotations(made.campaign_id, [query_.query_id])
            if not each.skipped
        }
        if len(votes) == 1 and query_.state is not QueryState.OPEN:
            assert labels[query_.item_id].value in votes
    for index in (0, 1, 2):
        assert running.replay(load_campaign(path), index, Quiet()).same_batch
    store.close()


def test_the_renaming_is_taken_over_once_even_if_the_program_dies(
    tmp_path: Path, run: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_campaign(tmp_path)
    run(path, 2)
    rename_label(load_campaign(path), "tech", "IT")
    with monkeypatch.context() as patched:

        def crash(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(running, "open_annotator", crash)
        with pytest.raises(KeyboardInterrupt):
            run(path)
    run(path)
    store, made = opened(load_campaign(path))
    log = [event.message for event in store.events(made.campaign_id) if "renamed" in event.message]
    assert len(log) == 1 and log[0].startswith("labels renamed: tech → IT")
    versions = {label.value: label.version for label in store.labels(made.campaign_id).values()}
    assert versions["IT"] == 2 or "IT" not in versions
    store.close()


def test_given_labels_and_a_test_file_pass_through_the_names(
    tmp_path: Path, run: Callable[..., None]
) -> None:
    write_jsonl(tmp_path / "test.jsonl", make_rows(20, seed=4))
    path = write_campaign(
        tmp_path,
        data__label="label",
        task__labels=["sport", "money", "tech"],
        task__renamed={"business": "money"},
        evaluation={"kind": "test", "path": "test.jsonl"},
    )
    run(path)
    store, made = opened(load_campaign(path))
    for role in (Role.POOL, Role.TEST):
        values = {label.value for label in store.labels(made.campaign_id, role).values()}
        assert values == {"sport", "money", "tech"}
    store.close()


# -- the file and the label config ---------------------------------------------------------------------


def test_a_name_may_come_back(tmp_path: Path) -> None:
    path = write_campaign(tmp_path)
    rename_label(load_campaign(path), "tech", "IT")
    rename_label(load_campaign(path), "IT", "tech")
    spec = load_campaign(path).spec.task
    assert spec.label_names == ("sport", "business", "tech") and spec.renamed == {"IT": "tech"}


def test_a_label_keeps_its_wording_and_the_file_its_comments(tmp_path: Path) -> None:
    path = write_campaign(tmp_path, task__labels=[{"name": "bug", "verbaliser": "a bug"}, "no"])
    path.write_text("# mine\n" + path.read_text())
    rename_label(load_campaign(path), "BUG", "fault")
    spec = load_campaign(path).spec.task
    assert [(each.name, each.verbaliser) for each in spec.labels] == [("fault", "a bug"), ("no", None)]
    assert path.read_text().startswith("# mine\n")


@pytest.mark.parametrize(("old", "new"), [("nothing", "x"), ("sport", "business")])
def test_what_cannot_be_renamed_leaves_the_file_as_it_is(tmp_path: Path, old: str, new: str) -> None:
    path = write_campaign(tmp_path, task__labels=["sport", "business"])
    text = path.read_text()
    with pytest.raises(ConfigError):
        rename_label(load_campaign(path), old, new)
    assert path.read_text() == text


def test_the_label_config_shows_new_names_and_still_allows_the_old_ones(tmp_path: Path) -> None:
    task = task_of(tmp_path, task__labels=["sport", "IT"], task__renamed={"tech": "IT"})
    xml = label_config.write(LabelStudioSpec(kind="label_studio"), task, "key")
    assert label_config.is_unedited(xml) and label_config.faults(xml, task) == []
    assert '<Choice value="tech" alias="tech" style="display: none"/>' in xml
    assert xml.count("hotkey=") == 2
