"""A Store in dictionaries for tests of the loop; it passes the same contract tests as the databases.

On it, tests/loop takes less than half the CPU time that it takes on SQLite (docs/benchmarks.md).

Everything that goes in is checked as a database would and copied through JSON where a database would, so
that a test which passes here does not pass by sharing objects.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import ParamSpec, TypeVar

from db.columns import same_json, storable_text, to_json
from star_al.errors import LeaseHeldError, LeaseLostError, StoreError
from star_al.labelling.queries import items_in, without_label
from star_al.ports import Store
from star_al.types import (
    NO_RESULTS,
    Adapter,
    Annotation,
    AnswerCount,
    Artefacts,
    BasePrediction,
    Campaign,
    CampaignSummary,
    Dataset,
    Evaluation,
    Event,
    ExternalTask,
    HeldOutPrediction,
    Item,
    JsonObject,
    JsonValue,
    Label,
    Lease,
    Marks,
    Query,
    QueryCounts,
    QueryState,
    Role,
    Round,
    RoundCollection,
    RoundState,
    ScoreRow,
    SourceItem,
    StepResults,
    Study,
    Waiting,
)

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class _Lease:
    owner: str | None = None
    epoch: int = 0
    expires: datetime = field(default_factory=lambda: datetime.now(UTC))

    def seconds_left(self) -> float:
        return max((self.expires - datetime.now(UTC)).total_seconds(), 0.0)


@dataclass
class _Member:
    source: SourceItem
    role: Role
    from_round: int


@dataclass
class _State:
    """The data of one campaign."""

    campaign: Campaign
    members: dict[str, _Member]
    lease: _Lease = field(default_factory=_Lease)
    labels: dict[str, list[Label]] = field(default_factory=dict)
    annotations: dict[tuple[str, str], list[Annotation]] = field(default_factory=dict)
    rounds: dict[int, Round] = field(default_factory=dict)
    training: dict[int, list[Label]] = field(default_factory=dict)
    evaluations: dict[int, list[Evaluation]] = field(default_factory=dict)
    rankings: dict[int, list[ScoreRow]] = field(default_factory=dict)
    held_out: dict[int, list[HeldOutPrediction]] = field(default_factory=dict)
    queries: dict[str, Query] = field(default_factory=dict)
    tasks: dict[tuple[str, str], ExternalTask] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    marks: Marks = field(default_factory=Marks)
    project_stamps: list[str] | None = None
    datasets: set[int] = field(default_factory=set)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    answered_at: list[datetime] = field(default_factory=list)  # when answers were mirrored


def _locked(method: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(method)
    def one_at_a_time(*args: P.args, **kwargs: P.kwargs) -> T:
        with _LOCK:
            return method(*args, **kwargs)

    return one_at_a_time


_LOCK = threading.RLock()


class MemoryStore(Store):
    """The Store port without a database. The contract of each method is that of ``star_al.ports.Store``."""

    def __init__(self) -> None:
        self._datasets: dict[int, Dataset] = {}
        self._importers: dict[int, str] = {}  # of data sets that are not ready
        self._dataset_ids = itertools.count(1)
        self._items: dict[int, dict[str, SourceItem]] = {}
        self._campaigns: dict[int, _State] = {}
        self._campaign_ids = itertools.count(1)
        self.adapters: dict[str, Adapter] = {}
        self._studies: dict[str, Study] = {}
        self._base: dict[tuple[str, str], BasePrediction] = {}

    def close(self) -> None:
        """Do nothing."""

    # -- data sets -------------------------------------------------------------------------------------

    @_locked
    def find_dataset(self, key: str) -> Dataset | None:
        return next((one for one in self._datasets.values() if one.key == key and one.ready), None)

    @_locked
    def begin_dataset(
        self, key: str, name: str, importer: str, *, may_replace: Callable[[str], bool]
    ) -> Dataset:
        for dataset_id, other in list(self._importers.items()):
            if self._datasets[dataset_id].key == key and (other == importer or may_replace(other)):
                self._discard(dataset_id)
        dataset = Dataset(next(self._dataset_ids), key, name, ready=False, n_items=0)
        self._datasets[dataset.dataset_id] = dataset
        self._importers[dataset.dataset_id] = importer
        self._items[dataset.dataset_id] = {}
        return dataset

    def _discard(self, dataset_id: int) -> None:
        for table in (self._datasets, self._importers, self._items):
            table.pop(dataset_id)

    @_locked
    def add_items(self, dataset_id: int, items: Iterable[SourceItem]) -> int:
        if dataset_id not in self._importers:
            raise StoreError("the data set being imported was deleted or is finished; run again.")
        stored = self._items[dataset_id]
        before = len(stored)
        for source in items:
            _store_item(stored, source)
        return len(stored) - before

    @_locked
    def finish_dataset(self, dataset_id: int, *, n_duplicates: int, n_empty: int) -> Dataset:
        if dataset_id not in self._datasets:
            raise StoreError("the data set being imported was deleted; run again.")
        dataset = self._datasets[dataset_id]
        first = self.find_dataset(dataset.key)
        if first is not None:
            self._discard(dataset_id)
            return first
        del self._importers[dataset_id]
        n_items = len(self._items[dataset_id])
        self._datasets[dataset_id] = replace(
            dataset, ready=True, n_items=n_items, n_duplicates=n_duplicates, n_empty=n_empty
        )
        return self._datasets[dataset_id]

    @_locked
    def dataset_item_ids(self, dataset_id: int) -> list[str]:
        return sorted(self._items.get(dataset_id, ()))

    # -- campaigns -------------------------------------------------------------------------------------

    @_locked
    def create_campaign(
        self,
        name: str,
        dataset_id: int,
        config: JsonObject,
        seed: int,
        *,
        held_out: Mapping[str, Role],
        test_dataset_id: int | None,
    ) -> Campaign:
        if self.find_campaign(name) is not None:
            raise StoreError(f"a campaign named {name!r} already exists; choose another name.")
        members = self._members(dataset_id, held_out, test_dataset_id)
        campaign = Campaign(
            next(self._campaign_ids), name, dataset_id, _copied(config), seed, uuid.uuid4().hex
        )
        state = _State(campaign, members, datasets={dataset_id, test_dataset_id or dataset_id})
        _import_labels(state, members)
        self._campaigns[campaign.campaign_id] = state
        return campaign

    def _members(
        self, dataset_id: int, held_out: Mapping[str, Role], test_dataset_id: int | None
    ) -> dict[str, _Member]:
        ready = {dataset.dataset_id for dataset in self._datasets.values() if dataset.ready}
        if not {dataset_id, test_dataset_id or dataset_id} <= ready:
            raise StoreError("the data set of the campaign is not completely imported; import it again.")
        members = {key: _Member(one, Role.POOL, 0) for key, one in self._items[dataset_id].items()}
        if missing := held_out.keys() - members.keys() - self._items.get(test_dataset_id or 0, {}).keys():
            raise StoreError(f"the item {min(missing)!r} is not in the campaign.")
        for item_id, role in held_out.items():
            if item_id in members:
                members[item_id].role = role
        for item_id, source in self._items.get(test_dataset_id or 0, {}).items():
            members[item_id] = _Member(source, Role.TEST, 0)
        return members

    @_locked
    def summaries(self) -> list[CampaignSummary]:
        return sorted(map(_summary, self._campaigns.values()), key=lambda one: one.name)

    @_locked
    def clone_campaign(self, campaign_id: int, name: str, config: JsonObject) -> Campaign:
        source = self.state(campaign_id)
        if self.find_campaign(name) is not None:
            raise StoreError(f"a campaign named {name!r} already exists; choose another name.")
        campaign = Campaign(
            next(self._campaign_ids),
            name,
            source.campaign.dataset_id,
            _copied(config),
            source.campaign.seed,
            uuid.uuid4().hex,
        )
        members = {key: replace(one, from_round=0) for key, one in source.members.items()}
        state = _State(campaign, members, datasets=set(source.datasets))
        for item_id, versions in source.labels.items():
            state.labels[item_id] = [Label(item_id, versions[-1].value, source="import")]
        _log(state, Event("clone", "began with the labels of another campaign"))
        self._campaigns[campaign.campaign_id] = state
        return campaign

    @_locked
    def restart_campaign(
        self,
        lease: Lease,
        dataset_id: int,
        config: JsonObject,
        seed: int,
        event: Event,
        *,
        held_out: Mapping[str, Role],
        test_dataset_id: int | None,
    ) -> None:
        old = self._held(lease)
        members = self._members(dataset_id, held_out, test_dataset_id)
        campaign = replace(old.campaign, dataset_id=dataset_id, config=_copied(config), seed=seed)
        state = _State(
            campaign,
            members,
            lease=old.lease,
            marks=replace(old.marks, close_round=None),
            events=old.events,
            datasets={dataset_id, test_dataset_id or dataset_id},
        )
        _import_labels(state, members)
        self._campaigns[lease.campaign_id] = state
        self._discard_unused(old.datasets)
        _log(state, event)

    @_locked
    def own_artefacts(self, campaign_id: int) -> Artefacts:
        mine = self.state(campaign_id).rounds.values()
        others = [
            one
            for key, state in self._campaigns.items()
            if key != campaign_id
            for one in state.rounds.values()
        ]
        return Artefacts(_adapters(mine) - _adapters(others), _scores(mine) - _scores(others))

    @_locked
    def delete_campaign(self, lease: Lease) -> None:
        state = self._held(lease)
        for sha256 in self.own_artefacts(lease.campaign_id).adapters:
            self.adapters.pop(sha256, None)
        del self._campaigns[lease.campaign_id]
        self._discard_unused(state.datasets)

    def project_stamps(self, campaign_id: int) -> list[str] | None:
        return self.state(campaign_id).project_stamps

    @_locked
    def save_project_stamps(self, campaign_id: int, stamps: Sequence[str] | None) -> None:
        self.state(campaign_id).project_stamps = None if stamps is None else list(stamps)

    @_locked
    def separate_campaign(self, lease: Lease) -> None:
        state = self._held(lease)
        state.tasks.clear()
        state.project_stamps = None
        state.campaign = replace(state.campaign, key=f"{state.campaign.key}'")

    def _discard_unused(self, candidates: set[int]) -> None:
        for dataset_id in candidates - {each for one in self._campaigns.values() for each in one.datasets}:
            gone = set(self._items.pop(dataset_id, ()))
            self._datasets.pop(dataset_id, None)
            gone -= {item_id for items in self._items.values() for item_id in items}
            self._base = {key: one for key, one in self._base.items() if key[1] not in gone}

    # -- marks -----------------------------------------------------------------------------------------

    @_locked
    def marks(self, campaign_id: int) -> Marks:
        return self.state(campaign_id).marks

    @_locked
    def archive(self, campaign_id: int, archived: bool, event: Event) -> None:
        self._set_moment(campaign_id, "archived_at", archived, event)

    @_locked
    def pause(self, campaign_id: int, paused: bool, event: Event) -> None:
        self._set_moment(campaign_id, "paused_at", paused, event)

    def _set_moment(self, campaign_id: int, name: str, wanted: bool, event: Event) -> None:
        state = self.state(campaign_id)
        if (getattr(state.marks, name) is not None) is not wanted:
            moment = datetime.now(UTC) if wanted else None
            state.marks = replace(state.marks, **{name: moment})  # type: ignore[arg-type]
            _log(state, event)

    @_locked
    def close_round(self, campaign_id: int, round_index: int, event: Event) -> None:
        state = self.state(campaign_id)
        before = state.marks.close_round
        if before is None or before < round_index:
            state.marks = replace(state.marks, close_round=round_index)
            _log(state, event)

    @_locked
    def find_campaign(self, name: str) -> Campaign | None:
        return next((one.campaign for one in self._campaigns.values() if one.campaign.name == name), None)

    @_locked
    def update_config(
        self,
        lease: Lease,
        config: JsonObject,
        *,
        relabelled: Sequence[Label] = (),
        settled: Sequence[tuple[str, Label]] = (),
        events: Sequence[Event] = (),
    ) -> None:
        state = self._held(lease)
        _append_labels(state, relabelled)
        self.close_queries(lease, settled, [])
        state.campaign = replace(state.campaign, config=_copied(config))
        for event in events:
            _log(state, event)

    @_locked
    def extend_campaign(self, campaign_id: int, items: Iterable[SourceItem]) -> int:
        state = self.state(campaign_id)
        from_round = _extensible_round(state)
        added: dict[str, SourceItem] = {}
        for source in items:
            _store_item(added, source)
        before = len(state.members)
        for item_id, source in added.items():
            state.members.setdefault(item_id, _Member(source, Role.POOL, from_round))
        _import_late_labels(state, added, from_round)
        return len(state.members) - before

    # -- lease -----------------------------------------------------------------------------------------

    @_locked
    def acquire_lease(
        self, campaign_id: int, owner: str, seconds: float, *, may_take: Callable[[str], bool]
    ) -> Lease:
        lease = self.state(campaign_id).lease
        if lease.owner is not None and lease.seconds_left() > 0 and not may_take(lease.owner):
            raise LeaseHeldError(
                f"the campaign is run by {lease.owner} for another {lease.seconds_left():.0f} s."
            )
        lease.owner, lease.epoch = owner, lease.epoch + 1
        lease.expires = datetime.now(UTC) + timedelta(seconds=seconds)
        return Lease(campaign_id, owner, lease.epoch)

    @_locked
    def lease_owner(self, campaign_id: int) -> str | None:
        lease = self.state(campaign_id).lease
        return lease.owner if lease.owner is not None and lease.seconds_left() > 0 else None

    @_locked
    def renew_lease(self, lease: Lease, seconds: float) -> None:
        self._held(lease).lease.expires = datetime.now(UTC) + timedelta(seconds=seconds)

    @_locked
    def release_lease(self, lease: Lease) -> None:
        if lease.campaign_id not in self._campaigns:
            return
        held = self.state(lease.campaign_id).lease
        if (held.owner, held.epoch) == (lease.owner, lease.epoch):
            held.owner = None

    # -- items -----------------------------------------------------------------------------------------

    @_locked
    def item_ids(self, campaign_id: int, role: Role, *, by_round: int | None = None) -> list[str]:
        members = self.state(campaign_id).members
        return sorted(
            item_id
            for item_id, member in members.items()
            if member.role is role and (by_round is None or member.from_round <= by_round)
        )

    @_locked
    def pool_ids(self, campaign_id: int, round_index: int) -> list[str]:
        state = self.state(campaign_id)
        asked = {
            one.item_id
            for one in state.queries.values()
            if one.round_index < round_index and not _waits_in_buffer(one)
        }
        imported = {
            item_id
            for item_id, versions in state.labels.items()
            if any(one.source == "import" and (one.round_index or 0) <= round_index for one in versions)
        }
        joined = {key for key, member in state.members.items() if member.from_round <= round_index}
        return sorted((joined & set(self.item_ids(campaign_id, Role.POOL))) - asked - imported)

    @_locked
    def items(self, campaign_id: int, item_ids: Sequence[str]) -> list[Item]:
        state = self.state(campaign_id)
        _require_items(state, item_ids)
        return [state.members[item_id].source.item for item_id in item_ids]

    @_locked
    def known_items(self, campaign_id: int, item_ids: Sequence[str]) -> set[str]:
        return set(item_ids) & self.state(campaign_id).members.keys()

    @_locked
    def options(self, campaign_id: int, item_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        members = self.state(campaign_id).members
        found = {key: members[key].source.item.options for key in item_ids if key in members}
        return {item_id: options for item_id, options in found.items() if options}

    # -- labels and annotations ------------------------------------------------------------------------

    @_locked
    def labels(self, campaign_id: int, role: Role | None = None) -> dict[str, Label]:
        state = self.state(campaign_id)
        return {
            item_id: versions[-1]
            for item_id, versions in sorted(state.labels.items())
            if role is None or state.members[item_id].role is role
        }

    @_locked
    def sizes(self, campaign_id: int) -> dict[Role, int]:
        return {role: len(self.item_ids(campaign_id, role)) for role in Role}

    @_locked
    def label_counts(self, campaign_id: int) -> dict[Role, int]:
        return {role: len(self.labels(campaign_id, role)) for role in Role}

    @_locked
    def answer_counts(self, campaign_id: int, *, with_options: bool = False) -> list[AnswerCount]:
        state, labels = self.state(campaign_id), self.labels(campaign_id)
        newest = {each.external_id: each for each in self.annotations(campaign_id)}
        by_query: dict[str, list[Annotation]] = {}
        for each in newest.values():
            by_query.setdefault(each.query_id, []).append(each)
        counts: Counter[AnswerCount] = Counter()
        for query_id, given in by_query.items():
            item_id = state.queries[query_id].item_id
            label = labels[item_id].value if item_id in labels else None
            (item,) = self.items(campaign_id, [item_id])
            there = [each for each in given if not each.withdrawn] or given
            by_age = sorted(
                there, key=lambda each: (not each.skipped, each.created_at or _LONG_AGO, each.external_id)
            )
            values = {each.annotator or each.external_id: each for each in by_age}
            for person, each in values.items():
                value = None if each.skipped else each.value
                counts[AnswerCount(person, value, label, item.options if with_options else (), 0)] += 1
        return [replace(each, n=n) for each, n in counts.items()]

    @_locked
    def lead_times(self, campaign_id: int) -> dict[str, list[float]]:
        seconds: dict[str, list[float]] = {}
        for each in {one.external_id: one for one in self.annotations(campaign_id)}.values():
            if each.annotator and each.lead_time is not None and not each.skipped:
                seconds.setdefault(each.annotator, []).append(each.lead_time)
        return seconds

    @_locked
    def query_counts(self, campaign_id: int) -> QueryCounts:
        queries = self.queries(campaign_id)
        skipped, disputed = without_label(queries)
        open_items = items_in(queries, QueryState.OPEN)
        in_dispute = open_items & {query.item_id for query in queries if query.disputed}
        n_open = sum(query.state is QueryState.OPEN for query in queries)
        return QueryCounts(n_open, len(skipped), len(disputed), len(in_dispute))

    @_locked
    def projects(self, campaign_id: int) -> list[str]:
        counts = Counter(task.project for task in self.tasks(campaign_id))
        return sorted(counts, key=lambda project: (-counts[project], project))

    @_locked
    def mirror(self, lease: Lease, annotator: str, annotations: Sequence[Annotation]) -> int:
        state = self._held(lease)
        copies = [
            replace(one, value=_copied(one.value)) for one in annotations if one.query_id in state.queries
        ]
        new = sum(
            _append_revision(state.annotations.setdefault((annotator, one.external_id), []), one)
            for one in copies
        )
        state.answered_at += [datetime.now(UTC)] * bool(new)
        return new

    @_locked
    def annotations(self, campaign_id: int, query_ids: Sequence[str] | None = None) -> list[Annotation]:
        wanted = None if query_ids is None else set(query_ids)
        found = itertools.chain.from_iterable(self.state(campaign_id).annotations.values())
        chosen = (one for one in found if wanted is None or one.query_id in wanted)
        return sorted(chosen, key=lambda one: (one.external_id, one.revision))

    # -- rounds ----------------------------------------------------------------------------------------

    @_locked
    def rounds(self, campaign_id: int) -> list[Round]:
        return [copy.deepcopy(one) for _, one in sorted(self.state(campaign_id).rounds.items())]

    @_locked
    def start_round(self, lease: Lease, round_: Round, training: Sequence[Label]) -> None:
        state = self._held(lease)
        if round_.index in state.rounds:
            return
        versions = [state.labels.get(label.item_id, [])[: label.version] for label in training]
        if any(len(found) != label.version for found, label in zip(versions, training, strict=True)):
            raise StoreError("refused, as a training label is not stored; nothing was written.")
        state.rounds[round_.index] = copy.deepcopy(round_)
        state.training[round_.index] = [found[-1] for found in versions]

    @_locked
    def training_labels(self, campaign_id: int, round_index: int) -> list[Label]:
        return sorted(self.state(campaign_id).training.get(round_index, ()), key=lambda one: one.item_id)

    @_locked
    def commit_step(
        self, lease: Lease, round_: Round, event: Event, results: StepResults = NO_RESULTS
    ) -> None:
        state = self._held(lease)
        if round_.index not in state.rounds:
            raise StoreError(f"round {round_.index} was never started; nothing was written.")
        known = self.adapters.keys() | {one.sha256 for one in results.adapters}
        if round_.adapter_sha256 is not None and round_.adapter_sha256 not in known:
            raise StoreError("refused, as the round's adapter is not stored; nothing was written.")
        _require_items(
            state, [*(row.item_id for row in results.ranking), *(row.item_id for row in results.held_out)]
        )
        if results.queries:
            _replace_queries(state, round_.index, results.queries)
        for one in results.adapters:
            self.adapters.setdefault(one.sha256, one)
        state.rounds[round_.index] = copy.deepcopy(round_)
        if results.evaluations:
            ordered = sorted(results.evaluations, key=lambda one: (one.model, one.scaling))
            state.evaluations[round_.index] = copy.deepcopy(ordered)
        if results.ranking:
            state.rankings[round_.index] = sorted(results.ranking, key=lambda row: row.rank)
        if results.held_out:
            by_key = sorted(results.held_out, key=lambda one: (one.model, one.item_id))
            state.held_out[round_.index] = copy.deepcopy(by_key)
        _log(state, event)

    @_locked
    def add_queries(self, lease: Lease, queries: Sequence[Query], event: Event) -> None:
        state = self._held(lease)
        _add_queries(state, queries)
        _log(state, event)

    @_locked
    def evaluations(self, campaign_id: int, round_index: int) -> list[Evaluation]:
        return list(self.state(campaign_id).evaluations.get(round_index, ()))

    @_locked
    def held_out(self, campaign_id: int, round_index: int) -> list[HeldOutPrediction]:
        return list(self.state(campaign_id).held_out.get(round_index, ()))

    # -- queries ---------------------------------------------------------------------------------------

    @_locked
    def queries(self, campaign_id: int, round_index: int | None = None) -> list[Query]:
        found = self.state(campaign_id).queries.values()
        chosen = (one for one in found if round_index is None or one.round_index == round_index)
        return sorted(chosen, key=lambda one: (one.round_index, one.purpose, one.rank, one.query_id))

    @_locked
    def open_queries(self, campaign_id: int) -> list[Query]:
        return [one for one in self.queries(campaign_id) if one.state is QueryState.OPEN]

    @_locked
    def attempts(self, campaign_id: int, query_ids: Sequence[str]) -> list[Query]:
        every = self.queries(campaign_id)
        item_ids = {one.item_id for one in every if one.query_id in set(query_ids)}
        return [one for one in every if one.item_id in item_ids]

    @_locked
    def waiting(self, campaign_id: int, round_index: int, purposes: Collection[Role]) -> Waiting:
        asked = self.queries(campaign_id, round_index)
        batch = [one for one in asked if one.purpose in purposes and not one.buffer]
        states: dict[str, set[QueryState]] = {}
        for query in batch:
            states.setdefault(query.item_id, set()).add(query.state)
        given = self.annotations(campaign_id, [query.query_id for query in batch])
        people = {(each.query_id, each.annotator or "") for each in given if not each.skipped}
        counts = Counter(person for _, person in people)
        return Waiting(
            closed=sum(QueryState.OPEN not in each for each in states.values()),
            asked=len(states),
            unlabelled=sum(each == {QueryState.SKIPPED} for each in states.values()),
            disputed=sum(
                any(query.disputed for query in batch if query.item_id == item_id)
                for item_id, each in states.items()
                if QueryState.LABELLED not in each
            ),
            answers=dict(sorted(counts.items(), key=lambda each: (-each[1], each[0]))),
        )

    @_locked
    def save_tasks(self, lease: Lease, tasks: Sequence[ExternalTask]) -> None:
        state = self._held(lease)
        _require_queries(state, [task.query_id for task in tasks])
        in_place = {_place(task): task for task in tasks}
        elsewhere = {key: task for key, task in state.tasks.items() if _place(task) not in in_place}
        state.tasks = elsewhere | {(task.query_id, task.annotator): task for task in in_place.values()}

    @_locked
    def tasks(self, campaign_id: int) -> list[ExternalTask]:
        return [task for _, task in sorted(self.state(campaign_id).tasks.items())]

    @_locked
    def withdraw_queries(self, lease: Lease, query_ids: Sequence[str], event: Event) -> None:
        state = self._held(lease)
        open_ids = {query.query_id for query in self.open_queries(lease.campaign_id)}
        gone = open_ids.intersection(query_ids) - _answered(state)
        state.queries = {key: query for key, query in state.queries.items() if key not in gone}
        state.tasks = {key: task for key, task in state.tasks.items() if task.query_id not in gone}
        _log(state, event)

    @_locked
    def carry_over(self, lease: Lease, query_ids: Sequence[str], round_index: int) -> None:
        state = self._held(lease)
        last: Counter[Role] = Counter()
        for query in self.queries(lease.campaign_id, round_index):
            last[query.purpose] = query.rank
        for query_id in query_ids:
            found = state.queries.get(query_id)
            if found is not None and _waits_in_buffer(found) and found.round_index != round_index:
                last[found.purpose] += 1
                moved = replace(found, round_index=round_index, rank=last[found.purpose])
                state.queries[query_id] = moved

    @_locked
    def close_queries(
        self,
        lease: Lease,
        labels: Sequence[tuple[str, Label]],
        skipped: Sequence[str],
        disputed: Sequence[str] = (),
        follow_up: Sequence[Query] = (),
    ) -> None:
        state = self._held(lease)
        _require_queries(state, [*(query_id for query_id, _ in labels), *skipped, *disputed])
        _require_items(state, [query.item_id for query in follow_up])
        _append_labels(state, [label for _, label in labels])
        for query_id, _ in labels:
            _close(state, query_id, QueryState.LABELLED)
        for query_id in skipped:
            _close(state, query_id, QueryState.SKIPPED)
        for query_id in disputed:
            _close(state, query_id, QueryState.SKIPPED, disputed=True)
        _add_queries(state, follow_up)

    # -- base predictions ------------------------------------------------------------------------------

    @_locked
    def base_predictions(self, base_key: str, item_ids: Sequence[str]) -> dict[str, BasePrediction]:
        return {key: self._base[base_key, key] for key in item_ids if (base_key, key) in self._base}

    @_locked
    def save_base_predictions(
        self, lease: Lease, base_key: str, predictions: Sequence[BasePrediction]
    ) -> None:
        self._held(lease)
        for prediction in predictions:
            self._base.setdefault((base_key, prediction.item_id), copy.deepcopy(prediction))

    # -- record ----------------------------------------------------------------------------------------

    @_locked
    def add_event(self, lease: Lease, event: Event) -> None:
        _log(self._held(lease), event)

    @_locked
    def events(self, campaign_id: int) -> list[Event]:
        return list(self.state(campaign_id).events)

    @_locked
    def history(self, campaign_id: int) -> list[JsonObject]:
        state = self.state(campaign_id)
        return [_history_row(one, state.evaluations.get(one.index, ())) for one in self.rounds(campaign_id)]

    # -- studies ---------------------------------------------------------------------------------------

    @_locked
    def save_study(self, study: Study) -> Study:
        stored = self._studies.get(study.name, replace(study, config=_copied(study.config), runs=()))
        runs = {(run.strategy, run.seed): run for run in (*study.runs, *stored.runs)}
        self._studies[study.name] = replace(stored, runs=tuple(run for _, run in sorted(runs.items())))
        return self._studies[study.name]

    @_locked
    def study(self, name: str) -> Study | None:
        return self._studies.get(name)

    # -- inside ----------------------------------------------------------------------------------------

    def state(self, campaign_id: int) -> _State:
        """Return the data of a campaign, for tests that look behind the port."""
        if campaign_id not in self._campaigns:
            raise StoreError(f"there is no campaign number {campaign_id}.")
        return self._campaigns[campaign_id]

    def _held(self, lease: Lease) -> _State:
        state = self.state(lease.campaign_id)
        if (state.lease.owner, state.lease.epoch) != (lease.owner, lease.epoch):
            raise LeaseLostError(f"{lease.owner} no longer holds the campaign. Nothing was written.")
        return state


_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)


def _copied(value: T) -> T:
    copied: T = json.loads(to_json(value))  # type: ignore[arg-type]
    return copied


def _stored_item(source: SourceItem) -> SourceItem:
    storable_text(source.item.text)
    item = replace(source.item, fields=_copied(source.item.fields))
    return SourceItem(item, _copied(source.given_label))


def _store_item(stored: dict[str, SourceItem], source: SourceItem) -> None:
    """Store an item and its label, unless they are stored already."""
    new = _stored_item(source)
    first = stored.setdefault(new.item.item_id, new)
    if first.given_label is None:
        stored[new.item.item_id] = replace(first, given_label=new.given_label)


def _extensible_round(state: _State) -> int:
    if not state.rounds:
        return 0
    newest = max(state.rounds)
    undecided = {RoundState.STARTED, RoundState.FITTED, RoundState.EVALUATED} if newest else set()
    return newest if state.rounds[newest].state in undecided | {RoundState.STOPPED} else newest + 1


def _import_late_labels(state: _State, added: Mapping[str, SourceItem], from_round: int) -> None:
    asked = {query.item_id for query in state.queries.values()}
    for item_id, source in added.items():
        open_to_it = state.members[item_id].role is Role.POOL and item_id not in asked | state.labels.keys()
        if source.given_label is not None and open_to_it:
            state.labels[item_id] = [Label(item_id, source.given_label, 1, "import", from_round)]


def _import_labels(state: _State, members: Mapping[str, _Member]) -> None:
    for item_id, member in members.items():
        if member.source.given_label is not None:
            state.labels[item_id] = [Label(item_id, member.source.given_label, 1, "import")]


def _append_labels(state: _State, labels: Sequence[Label]) -> int:
    _require_items(state, [label.item_id for label in labels])
    for label in labels:
        if label.value is None:
            raise StoreError(f"the label of item {label.item_id!r} has no value; skip the item instead.")
    copies = [replace(label, value=_copied(label.value)) for label in labels]
    return sum(_append_label(state.labels.setdefault(label.item_id, []), label) for label in copies)


def _append_label(versions: list[Label], label: Label) -> bool:
    if versions and same_json(versions[-1].value, label.value):
        return False
    versions.append(replace(label, version=len(versions) + 1))
    return True


def _append_revision(revisions: list[Annotation], annotation: Annotation) -> bool:
    if revisions and _same_answer(revisions[-1], annotation):
        return False
    revisions.append(replace(annotation, revision=len(revisions) + 1))
    return True


def _same_answer(one: Annotation, other: Annotation) -> bool:
    marks = (one.skipped, one.withdrawn) == (other.skipped, other.withdrawn)
    return marks and same_json(one.value, other.value)


def _place(task: ExternalTask) -> tuple[str, str, str]:
    return task.annotator, task.project, task.task


def _answered(state: _State) -> set[str]:
    """Ids of the queries that have an annotation."""
    return {one.query_id for revisions in state.annotations.values() for one in revisions}


def _waits_in_buffer(query: Query) -> bool:
    return query.buffer and query.state is QueryState.OPEN


def _add_queries(state: _State, queries: Sequence[Query]) -> None:
    _require_items(state, [query.item_id for query in queries])
    asked = {(one.item_id, one.attempt) for one in state.queries.values()}
    for query in queries:
        if query.query_id not in state.queries and (query.item_id, query.attempt) not in asked:
            state.queries[query.query_id] = query


def _replace_queries(state: _State, round_index: int, queries: Sequence[Query]) -> None:
    _require_items(state, [query.item_id for query in queries])
    wanted, purposes = {one.query_id for one in queries}, {one.purpose for one in queries}
    known = {query_id for query_id, _ in state.tasks} | _answered(state)
    for old in list(state.queries.values()):
        replaceable = (
            old.round_index == round_index and old.purpose in purposes and old.state is QueryState.OPEN
        )
        if replaceable and old.query_id not in wanted | known:
            del state.queries[old.query_id]
    _add_queries(state, queries)
    for query in queries:
        stored = state.queries[query.query_id]
        asked = replace(stored, rank=query.rank, wanted=query.wanted, reason=query.reason)
        if _waits_in_buffer(stored):
            asked = replace(asked, round_index=query.round_index, buffer=query.buffer, control=query.control)
        elif stored.round_index != round_index:
            asked = stored
        state.queries[query.query_id] = asked


def _close(state: _State, query_id: str, ending: QueryState, *, disputed: bool = False) -> None:
    query = state.queries[query_id]
    if query.state is not QueryState.LABELLED:
        state.queries[query_id] = replace(query, state=ending, disputed=disputed or query.disputed)


def _log(state: _State, event: Event) -> None:
    created_at = event.created_at or datetime.now(UTC)
    state.events.append(replace(event, detail=_copied(event.detail), created_at=created_at))


def _require_items(state: _State, item_ids: Sequence[str]) -> None:
    if missing := set(item_ids) - state.members.keys():
        raise StoreError(f"the item {min(missing)!r} is not in the campaign.")


def _require_queries(state: _State, query_ids: Sequence[str]) -> None:
    if missing := set(query_ids) - state.queries.keys():
        raise StoreError(f"the query {min(missing)!r} was never asked in this campaign; nothing was written.")


HEAD_METRICS = ("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "nll", "ece")


def _history_row(one: Round, evaluations: Sequence[Evaluation]) -> dict[str, JsonValue]:
    by_key = {(evaluation.model, evaluation.scaling): evaluation for evaluation in evaluations}
    adapted = by_key.get(("adapted", "temperature")) or by_key.get(("adapted", "raw"))
    base = by_key.get(("base", "contextual")) or by_key.get(("base", "raw"))
    head = by_key.get(("head", "temperature")) or by_key.get(("head", "raw"))
    row: dict[str, JsonValue] = {"round": one.index, "state": one.state.value}
    row |= {name: getattr(one, name) for name in ("labels", "labels_bought")}
    for name in ("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "nll", "brier", "ece"):
        row[name] = getattr(adapted, name, None)
    row |= {f"base_{name}": getattr(base, name, None) for name in ("accuracy", "nll", "ece")}
    row |= {name: getattr(one.evaluation, name, None) for name in ("temperature", "base_temperature")}
    row |= {"blend_weight": one.selection.blend_weight if one.selection else None}
    row |= {"pool_size": one.decision.pool_size if one.decision else None}
    row |= {"asked": one.selection.asked if one.selection else 0}
    collection = one.collection or RoundCollection()
    row |= {name: getattr(collection, name) for name in ("skipped", "disputed", "agreement")}
    row |= {"stop_agreement": one.evaluation.stop_agreement if one.evaluation else None}
    row |= {name: getattr(one.decision, name, None) for name in ("sequence_low", "sequence_high")}
    row |= {"shadow_labels": one.fit.shadow_labels if one.fit else None}
    row |= {"shadow_accuracy": getattr(by_key.get(("shadow", "raw")), "accuracy", None)}
    row |= {f"head_{name}": getattr(head, name, None) for name in HEAD_METRICS}
    row |= {name: getattr(one.fit, name, None) for name in ("taught_texts", "taught_weight")}
    weights = ("delivered_head_weight", "delivered_adapted_weight")
    row |= {name: getattr(one.evaluation, name, None) for name in weights}
    delivered = by_key.get(("delivered", "raw"))
    row |= {f"delivered_{name}": getattr(delivered, name, None) for name in ("accuracy", "nll", "ece")}
    row |= {"stop_advice": one.decision.stop_advice if one.decision else None}
    return row | {"seconds": sum(one.seconds.values()), "stop_reason": one.stop_reason}


def _summary(state: _State) -> CampaignSummary:
    rounds = [one for _, one in sorted(state.rounds.items())]
    history = [_history_row(one, state.evaluations.get(one.index, [])) for one in rounds]
    either = [row["accuracy"] if row["accuracy"] is not None else row["head_accuracy"] for row in history]
    measured = [accuracy for accuracy in either if accuracy is not None]
    labelled = [item_id for item_id in state.labels if state.members[item_id].role is not Role.TEST]
    moments = [event.created_at for event in state.events if event.created_at]
    return CampaignSummary(
        name=state.campaign.name,
        rounds=len(rounds),
        state=rounds[-1].state if rounds else None,
        stop_reason=rounds[-1].stop_reason if rounds else None,
        labels=len(labelled),
        accuracy=float(measured[-1]) if measured else None,  # type: ignore[arg-type]
        active_at=max([state.created_at, *moments, *state.answered_at]),
        runs=state.lease.owner if state.lease.seconds_left() > 0 else None,
        marks=state.marks,
    )


def _adapters(rounds: Iterable[Round]) -> frozenset[str]:
    found = {sha256 for one in rounds for sha256 in (one.adapter_sha256, one.head_sha256, one.shadow_sha256)}
    return frozenset(each for each in found if each is not None)


def _scores(rounds: Iterable[Round]) -> frozenset[str]:
    return frozenset(one.scores_sha256 for one in rounds if one.scores_sha256 is not None)
