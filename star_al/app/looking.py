"""What a campaign looks like now: its status, and why a round asked what it asked."""

from __future__ import annotations

from dataclasses import dataclass

from star_al.ports import Store
from star_al.replay import find_round
from star_al.types import Campaign, JsonObject, Label, Query, Role, Round


@dataclass(frozen=True)
class Status:
    """A campaign at a glance. ``next_step`` says in words what happens, or what to do, next."""

    campaign: Campaign
    sizes: dict[str, int]  # items a role
    labels: dict[str, int]  # labels a role
    open_queries: int
    newest: Round | None
    latest_metrics: JsonObject | None
    next_step: str


@dataclass(frozen=True)
class Asked:
    """A query, and the label it got, if any."""

    query: Query
    label: Label | None


def status(store: Store, campaign: Campaign) -> Status:
    """Where the campaign stands."""
    campaign_id = campaign.campaign_id
    rounds = store.rounds(campaign_id)
    history = store.history(campaign_id)
    n_open = store.count_open(campaign_id)
    return Status(
        campaign=campaign,
        sizes={role.value: len(store.item_ids(campaign_id, role)) for role in Role},
        labels={role.value: len(store.labels(campaign_id, role)) for role in Role},
        open_queries=n_open,
        newest=rounds[-1] if rounds else None,
        latest_metrics=next((row for row in reversed(history) if row["accuracy"] is not None), None),
        next_step=_next_step(rounds, n_open),
    )


def explain(store: Store, campaign: Campaign, round_index: int) -> list[Asked]:
    """What a round asked, in the order of asking.

    Raises:
        DataError: there is no such round.
    """
    find_round(store, campaign, round_index)
    labels = store.labels(campaign.campaign_id)
    queries = store.queries(campaign.campaign_id, round_index)
    return [Asked(query, labels.get(query.item.item_id)) for query in queries]


def _next_step(rounds: list[Round], n_open: int) -> str:
    if not rounds:
        return f"{n_open} held-out items wait for labels" if n_open else "the first round has not begun"
    newest = rounds[-1]
    if newest.stop_reason:
        return f"stopped: {newest.stop_reason}"
    waiting = f", {n_open} queries wait for labels" if n_open else ""
    return f"round {newest.index} is {newest.state.value}{waiting}; `star-al run` goes on"
