"""The status of a campaign, the work of its annotators, and why a round chose its texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from star_al.app.annotators import server_url
from star_al.app.waiting import clock
from star_al.common.process_identity import ProcessIdentity, has_ended
from star_al.common.wording import count
from star_al.config.spec import CampaignFile, CampaignSpec, LabelStudioSpec, OracleSpec
from star_al.labelling.ballots import Ballot, load_ballots
from star_al.ports import Store
from star_al.replay import find_round
from star_al.report.snapshot import AskedQuery, Person
from star_al.stats.ranking_model import rows_by_ranker
from star_al.steps.train import due_rounds
from star_al.task import Task, make_task
from star_al.task.columns import is_open, is_right
from star_al.task.grouping import grouped
from star_al.types import (
    Annotation,
    Campaign,
    Item,
    JsonObject,
    JsonValue,
    Label,
    Query,
    Round,
    RoundState,
)


@dataclass(frozen=True)
class Status:
    """A campaign at a glance.

    Attributes:
        sizes: Number of items by role.
        labels: Number of labels by role.
        skipped: Items that were closed without a label.
        disputed: Those of them whose annotators disagreed.
        people: Annotators, the busiest first; empty if the annotator is simulated.
        place: Where people label, as a URL.
        in_dispute: Items that wait for another answer because annotators disagree.
        run: The process that runs the campaign now, in words; None if none does.
        next_step: What happens next, or what to do, in words.
    """

    campaign: Campaign
    sizes: dict[str, int]
    labels: dict[str, int]
    open_queries: int
    skipped: int
    disputed: int
    in_dispute: int
    people: tuple[Person, ...]
    place: str | None
    newest: Round | None
    latest_metrics: JsonObject | None
    run: str | None
    next_step: str


def status(file: CampaignFile, store: Store, campaign: Campaign) -> Status:
    """Read the status from the store."""
    campaign_id = campaign.campaign_id
    rounds = store.rounds(campaign_id)
    history = rows_by_ranker(store.history(campaign_id), file.spec.ranking_model)
    counts = store.query_counts(campaign_id)
    annotator = file.spec.annotator
    run = running_process(store, campaign)
    return Status(
        campaign=campaign,
        sizes={role.value: n for role, n in store.sizes(campaign_id).items()},
        labels={role.value: n for role, n in store.label_counts(campaign_id).items()},
        open_queries=counts.open,
        skipped=counts.skipped,
        disputed=counts.disputed,
        in_dispute=counts.in_dispute,
        people=() if isinstance(annotator, OracleSpec) else people_of(store, campaign),
        place=_place(store, campaign, annotator) if isinstance(annotator, LabelStudioSpec) else None,
        newest=rounds[-1] if rounds else None,
        latest_metrics=next((row for row in reversed(history) if row["accuracy"] is not None), None),
        run=run,
        next_step=_next_step(rounds, counts.open, _untrained(file, rounds), running=run is not None),
    )


def running_process(store: Store, campaign: Campaign) -> str | None:
    """The process that runs a campaign now, in words; None if none does.

    One on another machine counts as alive until its lease expires.
    """
    owner = store.lease_owner(campaign.campaign_id)
    if owner is None or has_ended(owner):
        return None
    identity = ProcessIdentity.parse(owner)
    if identity is None:
        return owner
    started = datetime.fromtimestamp(identity.started, UTC)
    return f"{identity.in_words()}, started {clock(started, datetime.now(UTC))}"


@dataclass(frozen=True)
class ExplainedQuery:
    """A query with its item."""

    asked: AskedQuery
    item: Item


def explain(store: Store, campaign: Campaign, round_index: int) -> list[ExplainedQuery]:
    """Return a round's queries, in order; an item appears once per attempt.

    Raises:
        DataError: There is no such round.
    """
    find_round(store, campaign, round_index)
    queries = store.queries(campaign.campaign_id, round_index)
    annotations = store.annotations(campaign.campaign_id, [query.query_id for query in queries])
    items = store.items(campaign.campaign_id, [query.item_id for query in queries])
    found = asked(store, campaign, queries, annotations)
    return [ExplainedQuery(each, item) for each, item in zip(found, items, strict=True)]


def asked(
    store: Store, campaign: Campaign, queries: Sequence[Query], annotations: Sequence[Annotation]
) -> list[AskedQuery]:
    """Combine queries with the labels of their items and the answers they got."""
    labels = store.labels(campaign.campaign_id)
    task = _task(campaign)
    ballots = load_ballots(store, campaign.campaign_id, task, queries, annotations)
    return [
        AskedQuery(
            query,
            labels.get(query.item_id),
            _answers(ballots[query.query_id], task),
            _is_wrong(task, query.reason.predicted, labels.get(query.item_id)),
        )
        for query in queries
    ]


def _is_wrong(task: Task, predicted: JsonValue, label: Label | None) -> bool:
    if label is None or predicted is None:
        return False
    if not is_open(task):  # both are names
        return predicted != label.value and not task.has_no_column(label.value)
    return is_right(task, Item("", ""), predicted, label.value) is False


def _answers(ballot: Ballot, task: Task) -> dict[str, str | None]:
    """What people answered, in the same words where it counts as one answer."""
    people, values = list(ballot.values), list(ballot.values.values())
    answers: dict[str, str | None] = {}
    for group in grouped(values, lambda one, other: not task.distance(one, other)):
        shown = task.shown(task.answer(task.settled([values[place] for place in group])))
        answers |= {people[place]: shown for place in group}
    return {person: answers[person] for person in people} | dict.fromkeys(sorted(ballot.skips))


def _task(campaign: Campaign) -> Task:
    return make_task(CampaignSpec.model_validate(campaign.config).task)


def people_of(store: Store, campaign: Campaign) -> tuple[Person, ...]:
    """Summarise the work of each annotator, the busiest first."""
    task = _task(campaign)
    answers, skips, compared, agreed = (Counter[str]() for _ in range(4))
    for each in store.answer_counts(campaign.campaign_id, with_options=task.has_options):
        value = None if each.value is None else task.find(each.options, each.value)
        if value is None:
            skips[each.person] += each.n
            continue
        answers[each.person] += each.n
        if each.label is not None:
            compared[each.person] += each.n
            item = Item("", "", tuple(each.options))
            same = task.same(item, task.answer(each.label), task.answer(value))
            agreed[each.person] += each.n if same else 0
    seconds = store.lead_times(campaign.campaign_id)
    people = [
        Person(
            name=name,
            answers=answers[name],
            skips=skips[name],
            seconds=median(seconds[name]) if name in seconds else None,
            compared=compared[name],
            agreed=agreed[name],
        )
        for name in answers.keys() | skips.keys()
    ]
    return tuple(sorted(people, key=lambda each: (-each.answers, each.name)))


def _place(store: Store, campaign: Campaign, people: LabelStudioSpec) -> str | None:
    """Return the URL of the project with the most tasks, if the server's address is known here."""
    projects = store.projects(campaign.campaign_id)
    url = server_url(people)
    if not projects or url is None:
        return None
    return f"{url}/projects/{projects[0]}/data"


def _untrained(file: CampaignFile, rounds: list[Round]) -> int | None:
    """The first round whose language model is still to be trained; None if there is none."""
    due = due_rounds(rounds, file.spec.task.labels)
    return next((round_.index for round_ in due if round_.adapter_sha256 is None), None)


def _next_step(rounds: list[Round], n_open: int, untrained: int | None, *, running: bool) -> str:
    if not rounds:
        return _waiting(n_open, "held-out text") if n_open else "the first round has not started"
    newest = rounds[-1]
    if newest.stop_reason:
        left = "" if untrained is None else "; the language model is "
        if left:
            left += "being trained" if running else "not trained yet: continue with `star-al run`"
        return f"stopped: {newest.stop_reason}{left}"
    progress = f"round {newest.index} is in progress"
    if n_open:
        progress = f"round {newest.index}: {_waiting(n_open, 'text')}"
    elif newest.state is RoundState.COLLECTED:
        progress = f"round {newest.index} is finished"
    if not running:
        return f"{progress}; continue with `star-al run`"
    return (
        progress
        if untrained is None
        else f"{progress}; the language model of round {untrained} is being trained"
    )


def _waiting(n: int, what: str) -> str:
    return f"{count(n, what)} {'is waiting for a label' if n == 1 else 'are waiting for labels'}"
