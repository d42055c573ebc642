"""The contract of ``star_al.ports.Store`` for tasks, answers, buffer queries and disputes, on every store."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from star_al.errors import StoreError
from star_al.ports import Store
from star_al.types import (
    Annotation,
    ExternalTask,
    JsonValue,
    Label,
    Query,
    QueryCounts,
    QueryState,
    Reason,
    Role,
    StepResults,
    Waiting,
)
from support.records import EVENT, a_round, abc, campaign, held, query, source
from support.stored import label_versions

MOMENT = datetime(2024, 5, 1, 12, 30, 0, 123456, tzinfo=UTC)
EVE = Annotation("10", "q-a-1", {"choice": "naïve 😀"}, annotator="eve@x", lead_time=1.5, created_at=MOMENT)


def place(query_id: str, task: str, project: str = "1", tool: str = "tool") -> ExternalTask:
    """A task of a query."""
    return ExternalTask(query_id, tool, project, task)


def annotation(external_id: str, query_id: str, value: JsonValue = "pos", **changes: object) -> Annotation:
    return Annotation(external_id, query_id, value, **changes)  # type: ignore[arg-type]


def states(store: Store, campaign_id: int) -> dict[str, tuple[QueryState, bool]]:
    """State and dispute of each query, by query id."""
    return {one.query_id: (one.state, one.disputed) for one in store.queries(campaign_id)}


def ranks(store: Store, campaign_id: int, round_index: int) -> list[tuple[str, int, bool]]:
    """Id, rank and ``buffer`` of a round's queries, in order."""
    return [(one.query_id, one.rank, one.buffer) for one in store.queries(campaign_id, round_index)]


# -- annotations ---------------------------------------------------------------------------------------


def test_an_annotation_comes_back_whole_and_is_kept_once(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a"), query("b")], EVENT)
    skip = Annotation("9", "q-b-1", "neg", skipped=True, withdrawn=True)
    assert store.mirror(lease, "tool", [EVE, skip]) == 2
    for _ in range(2):
        assert store.mirror(lease, "tool", [skip, EVE, EVE]) == 0
    assert store.annotations(campaign_id) == [EVE, skip]
    assert store.annotations(campaign_id, ["q-b-1", "q-z-1"]) == [skip]
    assert store.annotations(campaign_id, []) == []


def test_what_an_annotation_says_anew_is_its_next_revision(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a")], EVENT)
    edited = dataclasses.replace(EVE, value="neg", lead_time=4.0, created_at=MOMENT.replace(hour=13))
    skipped = dataclasses.replace(edited, skipped=True)
    withdrawn = dataclasses.replace(skipped, withdrawn=True)
    said = [EVE, edited, skipped, withdrawn, EVE]  # back to the first answer is news too
    for revision in said:
        assert store.mirror(lease, "tool", [revision]) == 1
        assert store.mirror(lease, "tool", [revision]) == 0
    numbered = [dataclasses.replace(one, revision=number) for number, one in enumerate(said, 1)]
    assert store.annotations(campaign_id) == numbered


def test_the_store_counts_revisions_whatever_the_caller_says(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a")], EVENT)
    given = [dataclasses.replace(EVE, revision=7), dataclasses.replace(EVE, value="neg", revision=7)]
    assert store.mirror(lease, "tool", [*given, given[1]]) == 2
    assert store.mirror(lease, "tool", [dataclasses.replace(given[1], revision=9)]) == 0
    found = [(one.revision, one.value) for one in store.annotations(campaign_id)]
    assert found == [(1, EVE.value), (2, "neg")]


def test_time_and_name_alone_are_no_new_revision(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a")], EVENT)
    store.mirror(lease, "tool", [EVE])
    renamed = dataclasses.replace(EVE, annotator="eve", lead_time=9.0, created_at=None)
    assert store.mirror(lease, "tool", [renamed]) == 0
    assert store.annotations(campaign_id) == [EVE]


def test_values_that_python_takes_for_equal_are_different_answers(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a")], EVENT)
    values: list[JsonValue] = [1, True, 1.0, 1.0, {"a": 1, "b": [2]}, {"b": [2], "a": 1}, None]
    new = [store.mirror(lease, "tool", [Annotation("1", "q-a-1", value)]) for value in values]
    assert new == [1, 1, 1, 0, 1, 0, 1]
    assert len(store.annotations(campaign_id)) == 5


def test_annotations_of_other_campaigns_queries_are_left_out(store: Store) -> None:
    campaign_id, lease = abc(store)
    other = campaign(store, [source("a")], name="two")
    store.add_queries(lease, [query("a")], EVENT)
    store.add_queries(held(store, other), [query("a", query_id="q-other")], EVENT)
    strangers = [Annotation("1", "q-other", "pos"), Annotation("2", "q-z-1", "pos")]
    assert store.mirror(lease, "tool", [strangers[0], EVE, strangers[1]]) == 1
    assert store.annotations(campaign_id) == [EVE]
    assert store.annotations(other.campaign_id) == []


def test_two_tools_count_their_revisions_apart(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a")], EVENT)
    assert [store.mirror(lease, tool, [EVE]) for tool in ("tool", "other", "tool")] == [1, 1, 0]
    assert store.annotations(campaign_id) == [EVE, EVE]


def test_more_annotations_than_a_page_are_mirrored_once(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a")], EVENT)
    many = [Annotation(f"{number:05}", "q-a-1", "pos") for number in range(5_010)]
    assert store.mirror(lease, "tool", many) == 5_010
    assert store.mirror(lease, "tool", [*many, dataclasses.replace(many[-1], value="neg")]) == 1
    assert len(store.annotations(campaign_id)) == 5_011


# -- places --------------------------------------------------------------------------------------------


def test_tasks_may_be_saved_again_and_moved(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a"), query("b")], EVENT)
    assert store.tasks(campaign_id) == []
    for task in ("10", "10", "11"):
        store.save_tasks(lease, [place("q-b-1", "20"), place("q-a-1", task)])
    assert store.tasks(campaign_id) == [place("q-a-1", "11"), place("q-b-1", "20")]
    with pytest.raises(StoreError):
        store.save_tasks(lease, [place("q-a-1", "12"), place("q-z-1", "13")])
    assert store.tasks(campaign_id) == [place("q-a-1", "11"), place("q-b-1", "20")]


def test_a_place_has_one_query(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a"), query("b"), query("c")], EVENT)
    store.save_tasks(lease, [place("q-a-1", "10"), place("q-b-1", "11"), place("q-c-1", "12")])
    store.save_tasks(lease, [place("q-b-1", "10")])
    assert store.tasks(campaign_id) == [place("q-b-1", "10"), place("q-c-1", "12")]
    store.save_tasks(lease, [place("q-b-1", "12"), place("q-c-1", "10")])  # they change places
    assert store.tasks(campaign_id) == [place("q-b-1", "12"), place("q-c-1", "10")]
    store.save_tasks(lease, [place("q-a-1", "14"), place("q-b-1", "14")])
    assert store.tasks(campaign_id) == [place("q-b-1", "14"), place("q-c-1", "10")]


def test_a_place_is_tool_project_and_task_of_one_campaign(store: Store) -> None:
    campaign_id, lease = abc(store)
    other = campaign(store, [source("a")], name="two")
    elsewhere = held(store, other)
    store.add_queries(elsewhere, [query("a")], EVENT)
    store.add_queries(lease, [query("a"), query("b"), query("c")], EVENT)
    places = [place("q-a-1", "10"), place("q-b-1", "10", project="2"), place("q-c-1", "10", tool="other")]
    for one in places:
        store.save_tasks(lease, [one])
    store.save_tasks(elsewhere, [place("q-a-1", "10")])
    assert store.tasks(campaign_id) == places
    assert store.tasks(other.campaign_id) == [place("q-a-1", "10")]


# -- withdrawn queries ---------------------------------------------------------------------------------


def test_a_withdrawn_query_is_as_if_never_asked(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(), [])
    asked = [query("a", buffer=True), query("b", rank=2)]
    store.commit_step(lease, a_round(), EVENT, StepResults(queries=asked))
    store.save_tasks(lease, [place("q-a-1", "10"), place("q-b-1", "11")])
    for _ in range(2):
        store.withdraw_queries(lease, ["q-a-1", "q-z-1"], EVENT)
    assert store.queries(campaign_id) == asked[1:]
    assert store.tasks(campaign_id) == [place("q-b-1", "11")]
    assert store.pool_ids(campaign_id, 1) == ["a", "c"]
    assert len(store.events(campaign_id)) == 3
    store.add_queries(lease, [query("a", 1)], EVENT)
    store.save_tasks(lease, [place("q-a-1", "10")])
    assert store.queries(campaign_id, 1) == [query("a", 1)]


def test_what_was_answered_or_closed_is_not_withdrawn(store: Store) -> None:
    campaign_id, lease = abc(store)
    asked = [query("a"), query("b", rank=2), query("c", rank=3)]
    store.add_queries(lease, asked, EVENT)
    places = [place("q-a-1", "10"), place("q-b-1", "11"), place("q-c-1", "12")]
    store.save_tasks(lease, places)
    store.mirror(lease, "tool", [dataclasses.replace(EVE, withdrawn=True)])
    store.close_queries(lease, [("q-b-1", Label("b", "pos"))], ["q-c-1"])
    store.withdraw_queries(lease, ["q-a-1", "q-b-1", "q-c-1"], EVENT)
    assert set(states(store, campaign_id)) == {"q-a-1", "q-b-1", "q-c-1"}
    assert store.tasks(campaign_id) == places


# -- the buffer ----------------------------------------------------------------------------------------


def test_an_open_buffer_query_leaves_its_item_in_the_pool(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(), [])
    asked = [query("a"), query("b", rank=2, buffer=True), query("c", rank=3, buffer=True)]
    store.commit_step(lease, a_round(), EVENT, StepResults(queries=asked))
    assert store.queries(campaign_id) == asked
    assert store.pool_ids(campaign_id, 1) == ["b", "c"]
    store.close_queries(lease, [("q-b-1", Label("b", "pos"))], [])
    assert store.pool_ids(campaign_id, 1) == ["c"]
    store.close_queries(lease, [], ["q-c-1"])
    assert store.pool_ids(campaign_id, 1) == []
    assert store.pool_ids(campaign_id, 0) == ["a", "b", "c"]


def test_an_item_that_an_earlier_round_asked_otherwise_is_not_in_the_pool(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a"), query("b", buffer=True)], EVENT)
    store.close_queries(
        lease, [], ["q-a-1"], follow_up=[query("a", attempt=2, query_id="q-a-2", buffer=True)]
    )
    store.add_queries(lease, [query("b", 1, attempt=2, query_id="q-b-2", buffer=True)], EVENT)
    assert store.pool_ids(campaign_id, 1) == store.pool_ids(campaign_id, 2) == ["b", "c"]


def test_a_new_selection_takes_open_buffer_queries_into_its_round(store: Store) -> None:
    campaign_id, lease = abc(store)
    for index in (0, 1):
        store.start_round(lease, a_round(index), [])
    first = [query("a", rank=1, buffer=True), query("b", rank=2, buffer=True), query("c", rank=3)]
    store.commit_step(lease, a_round(0), EVENT, StepResults(queries=first))
    store.save_tasks(lease, [place("q-a-1", "10")])
    anew = Reason("asked again", "margin", 0.1, 0.2, 0.3)
    second = [query("b", 1, rank=1, reason=anew), query("a", 1, rank=2, reason=anew, buffer=True)]
    for _ in range(2):
        store.commit_step(lease, a_round(1), EVENT, StepResults(queries=[*second, query("c", 1, rank=3)]))
        assert store.queries(campaign_id, 0) == first[2:]
        assert store.queries(campaign_id, 1) == second
    assert store.tasks(campaign_id) == [place("q-a-1", "10")]
    assert store.pool_ids(campaign_id, 1) == ["a", "b"]
    assert store.pool_ids(campaign_id, 2) == ["a"]


def test_a_closed_buffer_query_stays_in_its_round(store: Store) -> None:
    campaign_id, lease = abc(store)
    for index in (0, 1):
        store.start_round(lease, a_round(index), [])
    store.commit_step(lease, a_round(0), EVENT, StepResults(queries=[query("a", buffer=True)]))
    store.close_queries(lease, [("q-a-1", Label("a", "pos"))], [])
    store.commit_step(lease, a_round(1), EVENT, StepResults(queries=[query("a", 1, rank=2), query("b", 1)]))
    assert store.queries(campaign_id, 0) == [query("a", buffer=True, state=QueryState.LABELLED)]
    assert store.queries(campaign_id, 1) == [query("b", 1)]


def test_a_selection_made_anew_drops_buffer_queries_that_were_not_pushed(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.start_round(lease, a_round(), [])
    asked = [query("a"), query("b", rank=2, buffer=True), query("c", rank=3, buffer=True)]
    store.commit_step(lease, a_round(), EVENT, StepResults(queries=asked))
    store.save_tasks(lease, [place("q-c-1", "10")])
    store.commit_step(lease, a_round(), EVENT, StepResults(queries=asked[:1]))
    assert store.queries(campaign_id) == [asked[0], asked[2]]


def test_buffer_queries_are_carried_over_behind_the_last_rank(store: Store) -> None:
    held_out = {"d": Role.AUDIT, "e": Role.AUDIT}
    made = campaign(store, [source(name) for name in "abcdefg"], held_out=held_out)
    campaign_id, lease = made.campaign_id, held(store, made)
    waiting = [query("a", buffer=True), query("b", rank=2, buffer=True), query("c", rank=3)]
    waiting += [query("f", rank=4, buffer=True), query("d", buffer=True, purpose=Role.AUDIT)]
    present = [query("g", 1, rank=5), query("e", 1, rank=2, purpose=Role.AUDIT)]
    store.add_queries(lease, [*waiting, *present], EVENT)
    store.close_queries(lease, [], ["q-f-1"])
    for _ in range(2):  # not open, not a buffer query, unknown: left as they are
        store.carry_over(lease, ["q-b-1", "q-f-1", "q-c-1", "q-z-1", "q-d-1", "q-a-1", "q-b-1"], 1)
        assert ranks(store, campaign_id, 0) == [("q-c-1", 3, False), ("q-f-1", 4, True)]
        assert ranks(store, campaign_id, 1) == [
            ("q-e-1", 2, False),
            ("q-d-1", 3, True),
            ("q-g-1", 5, False),
            ("q-b-1", 6, True),
            ("q-a-1", 7, True),
        ]
    store.carry_over(lease, ["q-a-1"], 2)
    assert ranks(store, campaign_id, 2) == [("q-a-1", 1, True)]


# -- what a poll loads ---------------------------------------------------------------------------------


def test_attempts_are_all_queries_of_the_same_items(store: Store) -> None:
    campaign_id, lease = abc(store)
    other = campaign(store, [source("a")], name="two")
    store.add_queries(held(store, other), [query("a")], EVENT)
    store.add_queries(lease, [again("a"), query("b", rank=2), query("a"), query("c", rank=3)], EVENT)
    assert store.attempts(campaign_id, ["q-a-2"]) == [query("a"), again("a")]
    assert store.attempts(campaign_id, ["q-c-1", "q-a-1", "unknown"]) == [
        query("a"),
        again("a"),
        query("c", rank=3),
    ]
    assert store.attempts(campaign_id, []) == []


def test_a_batch_is_counted_by_items_and_answers_by_annotator(store: Store) -> None:
    campaign_id, lease = abc(store, held_out={"c": Role.AUDIT})
    assert store.waiting(campaign_id, 0, (Role.POOL,)) == Waiting(0, 0)
    asked = [query("a"), query("b", rank=2), again("b"), query("c", purpose=Role.AUDIT)]
    store.add_queries(lease, asked, EVENT)
    assert store.waiting(campaign_id, 0, (Role.POOL,)) == Waiting(closed=0, asked=2)
    answers = [
        annotation("1", "q-a-1", annotator="ann"),
        annotation("2", "q-b-1", annotator="ann", value=None, skipped=True),
        annotation("3", "q-b-2", annotator="bo"),
        annotation("4", "q-b-2", annotator="bo", value="neg"),
        annotation("5", "q-c-1", annotator="cy"),
        annotation("6", "q-a-1", annotator=None),
    ]
    store.mirror(lease, "tool", answers)
    store.mirror(lease, "tool", [annotation("1", "q-a-1", annotator="ann", value="neg")])
    store.close_queries(lease, [("q-a-1", Label("a", "pos"))], ["q-b-1"])
    counts = {"": 1, "ann": 1, "bo": 1}
    assert store.waiting(campaign_id, 0, (Role.POOL,)) == Waiting(closed=1, asked=2, answers=counts)
    store.close_queries(lease, [], ["q-b-2"])
    done = store.waiting(campaign_id, 0, (Role.POOL, Role.AUDIT))
    assert done == Waiting(closed=2, asked=3, unlabelled=1, answers={**counts, "cy": 1})
    assert list(done.answers) == ["", "ann", "bo", "cy"]
    assert store.waiting(campaign_id, 1, (Role.POOL,)) == Waiting(0, 0)


def test_the_buffer_is_not_waited_for(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a"), query("b", rank=2, buffer=True)], EVENT)
    store.mirror(lease, "tool", [annotation("1", "q-b-1", annotator="ann")])
    assert store.waiting(campaign_id, 0, (Role.POOL,)) == Waiting(closed=0, asked=1)


def test_options_are_those_of_items_that_have_some(store: Store) -> None:
    made = campaign(store, [source("a", options=("yes", "no")), source("b"), source("c", options=("1", "2"))])
    assert store.options(made.campaign_id, ["b", "a"]) == {"a": ("yes", "no")}
    assert store.options(made.campaign_id, []) == {}


# -- disputes and follow-ups ---------------------------------------------------------------------------


def test_a_disputed_query_is_skipped_and_marked(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a"), query("b"), query("c")], EVENT)
    for _ in range(2):
        store.close_queries(lease, [("q-a-1", Label("a", "pos"))], ["q-b-1"], ["q-c-1"])
    assert states(store, campaign_id) == {
        "q-a-1": (QueryState.LABELLED, False),
        "q-b-1": (QueryState.SKIPPED, False),
        "q-c-1": (QueryState.SKIPPED, True),
    }
    assert store.open_queries(campaign_id) == []
    store.close_queries(lease, [], ["q-c-1"], ["q-a-1", "q-b-1"])
    assert states(store, campaign_id) == {
        "q-a-1": (QueryState.LABELLED, False),
        "q-b-1": (QueryState.SKIPPED, True),
        "q-c-1": (QueryState.SKIPPED, True),
    }
    assert set(store.labels(campaign_id)) == {"a"}


def test_a_late_label_settles_a_dispute(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a")], EVENT)
    store.close_queries(lease, [], [], ["q-a-1"])
    for _ in range(2):
        store.close_queries(lease, [("q-a-1", Label("a", "pos", round_index=0))], [])
    assert states(store, campaign_id) == {"q-a-1": (QueryState.LABELLED, True)}
    assert label_versions(store, campaign_id, "a") == [Label("a", "pos", 1, "annotator", 0)]


def again(name: str, attempt: int = 2, *, buffer: bool = False) -> Query:
    """A query that asks an item again."""
    return query(name, attempt=attempt, query_id=f"q-{name}-{attempt}", wanted=3, buffer=buffer)


def test_a_follow_up_is_asked_once(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query("a"), query("b")], EVENT)
    for _ in range(2):
        store.close_queries(lease, [], ["q-a-1"], ["q-b-1"], [again("a"), again("b", buffer=True)])
    assert store.open_queries(campaign_id) == [again("a"), again("b", buffer=True)]
    store.close_queries(lease, [("q-a-2", Label("a", "pos"))], [], [], [again("a"), again("a", 3)])
    assert states(store, campaign_id) == {
        "q-a-1": (QueryState.SKIPPED, False),
        "q-b-1": (QueryState.SKIPPED, True),
        "q-a-2": (QueryState.LABELLED, False),
        "q-b-2": (QueryState.OPEN, False),
        "q-a-3": (QueryState.OPEN, False),
    }


@pytest.mark.parametrize(
    ("disputed", "follow_up"), [(["q-z-1"], []), (["q-b-1"], [again("z")])], ids=["query", "item"]
)
def test_a_settlement_is_all_or_nothing(store: Store, disputed: list[str], follow_up: list[Query]) -> None:
    campaign_id, lease = abc(store)
    asked = [query("a"), query("b", rank=2)]
    store.add_queries(lease, asked, EVENT)
    with pytest.raises(StoreError, match="z"):
        store.close_queries(lease, [("q-a-1", Label("a", "pos"))], [], disputed, follow_up)
    assert store.queries(campaign_id) == asked
    assert store.labels(campaign_id) == {}


def test_answers_are_counted_by_person_value_and_label(store: Store) -> None:
    campaign_id, lease = abc(store)
    store.add_queries(lease, [query(name) for name in "abc"], EVENT)
    assert store.answer_counts(campaign_id) == [] and store.lead_times(campaign_id) == {}

    def answer(key: str, item: str, person: str | None, value: str | None, **more: object) -> Annotation:
        skipped = value is None
        return Annotation(key, f"q-{item}-1", value, skipped=skipped, annotator=person, **more)  # type: ignore[arg-type]

    early, late = MOMENT, MOMENT + timedelta(hours=1)
    first = [
        answer("1", "a", "ann", "neg", created_at=early, lead_time=2.0),
        answer("2", "a", "ann", "pos", created_at=late, lead_time=4.0),  # the newer one counts
        answer("3", "b", "ann", "pos", created_at=early, lead_time=6.0),
        answer("4", "b", "ann", None, created_at=late, lead_time=9.0),  # a label outweighs a skip
        answer("5", "b", "bo", "neg"),
        answer("6", "c", "bo", None),
        answer("7", "c", None, "pos"),
    ]
    store.mirror(lease, "tool", first)
    store.mirror(lease, "tool", [replace(first[4], value="pos")])
    store.close_queries(lease, [("q-a-1", Label("a", "pos")), ("q-b-1", Label("b", "neg"))], [])
    expected = {
        ("ann", "pos", "pos", 1),
        ("ann", "pos", "neg", 1),
        ("bo", "pos", "neg", 1),
        ("bo", None, None, 1),
        ("7", "pos", None, 1),
    }
    counted = store.answer_counts(campaign_id)
    assert {(each.person, each.value, each.label, each.n) for each in counted} == expected
    assert {name: sorted(each) for name, each in store.lead_times(campaign_id).items()} == {
        "ann": [2.0, 4.0, 6.0]
    }
    store.mirror(lease, "tool", [replace(first[1], withdrawn=True), replace(first[6], withdrawn=True)])
    expected ^= {("ann", "pos", "pos", 1), ("ann", "neg", "pos", 1), ("7", "pos", None, 1)}
    counted = store.answer_counts(campaign_id)
    assert {(each.person, each.value, each.label, each.n) for each in counted} == expected


def test_items_labels_and_queries_are_counted(store: Store) -> None:
    campaign_id, lease = abc(store)
    assert store.sizes(campaign_id)[Role.POOL] == len(store.item_ids(campaign_id, Role.POOL))
    assert store.query_counts(campaign_id) == QueryCounts(0, 0, 0, 0)
    again = replace(query("c"), query_id="q-c-2", attempt=2)
    store.add_queries(lease, [query(name) for name in "abc"], EVENT)
    store.close_queries(lease, [("q-a-1", Label("a", "pos"))], ["q-b-1"], ["q-c-1"])
    assert store.query_counts(campaign_id) == QueryCounts(0, 2, 1, 0)
    store.add_queries(lease, [again], EVENT)
    assert store.query_counts(campaign_id) == QueryCounts(1, 1, 0, 1)
    assert store.label_counts(campaign_id) == {role: int(role is Role.POOL) for role in Role}
    tasks = [ExternalTask("q-a-1", "tool", "7", "1"), ExternalTask("q-b-1", "tool", "8", "1")]
    store.save_tasks(lease, [*tasks, ExternalTask("q-c-1", "tool", "8", "2")])
    assert store.projects(campaign_id) == ["8", "7"]
