"""Labels that are called differently now: what follows for the labels in force, with all answers kept as given."""

from __future__ import annotations

from dataclasses import dataclass

from star_al.config.spec import CampaignSpec
from star_al.labelling.ballots import load_ballots
from star_al.labelling.settle import settle
from star_al.ports import Store
from star_al.task import Task, make_task
from star_al.types import Label, QueryState


@dataclass(frozen=True)
class Relabelling:
    """What a new set of label names changes.

    Attributes:
        relabelled: Labels in force under their new name.
        settled: (query id, label) pairs of closed queries whose answers now agree on another label, or at last
            on one.
    """

    relabelled: tuple[Label, ...]
    settled: tuple[tuple[str, Label], ...]


def relabel(store: Store, campaign_id: int, spec: CampaignSpec) -> Relabelling:
    """Read all labels and answers of a campaign under the labels of ``spec``; nothing is written."""
    task, in_force = make_task(spec.task), store.labels(campaign_id)
    now = {item_id: task.find((), label.value) or label.value for item_id, label in in_force.items()}
    settled = {
        item_id: (query_id, label)
        for item_id, (query_id, label) in _settled(store, campaign_id, spec, task).items()
        if label.value != now.get(item_id)
    }
    relabelled = [
        Label(item_id, now[item_id], source=label.source, round_index=label.round_index)
        for item_id, label in in_force.items()
        if now[item_id] != label.value and item_id not in settled
    ]
    return Relabelling(tuple(relabelled), tuple(settled.values()))


def _settled(store: Store, campaign_id: int, spec: CampaignSpec, task: Task) -> dict[str, tuple[str, Label]]:
    """What the closed queries of people give now, by item; of several attempts the last."""
    queries = store.queries(campaign_id)
    ballots = load_ballots(store, campaign_id, task, queries, store.annotations(campaign_id))
    closed = [
        query
        for query in sorted(queries, key=lambda each: each.attempt)
        if query.state is not QueryState.OPEN and ballots[query.query_id].values
    ]
    found = settle(closed, ballots, spec.labelling, task)
    return {label.item_id: (query_id, label) for query_id, label in found.labels}
