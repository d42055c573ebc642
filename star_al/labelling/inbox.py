"""Take answers of the annotation tool into the store: mirror them, settle labels, request further answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from star_al.common.patience import TOOL
from star_al.errors import AwayError
from star_al.labelling.ballots import Ballot, Refused, load_ballots, newest_revisions
from star_al.labelling.crowd import CrowdVotes
from star_al.labelling.outbox import push_open, record, still_ours
from star_al.labelling.queries import next_attempt
from star_al.labelling.settle import Settled, settle, votes_of
from star_al.parts import LeasedParts
from star_al.types import Annotation, JsonValue, Poll, Query, QueryState


class Inbox:
    """Takes in answers, poll by poll. Each poll starts where the one before ended, and loads only what is new."""

    def __init__(self, parts: LeasedParts) -> None:
        self.parts = parts
        self.campaign_id = parts.campaign.campaign_id
        self._cursor: str | None = None
        self._first = True  # an earlier run may have been killed between mirroring answers and settling them
        self._must_push = False  # a query has no task, and the annotation tool may have been away since
        self._crowd: CrowdVotes | None = None  # of the campaign, where all answers are needed
        self._logged = {event.message for event in parts.store.events(self.campaign_id)}

    def try_to_take_in(self) -> AwayError | None:
        """Poll once; if the annotation tool cannot be reached, return the error, and show it the first time."""
        try:
            self.take_in()
        except AwayError as exc:
            self.parts.patience.announce(TOOL, str(exc))
            return exc
        self.parts.patience.reached(TOOL)
        return None

    def take_in(self) -> None:
        """Poll once: mirror the annotations, settle what they answer, and make the further queries that rules demand.

        Raises:
            AwayError: The annotation tool is away; the next call goes on.
        """
        parts = self.parts
        poll = parts.annotator.poll(self._cursor, still_ours(parts))
        news = [*poll.annotations, *self._taken_back(poll)]
        # Mirrored before they are settled: an answer that was seen is kept, even if this process dies here.
        parts.store.mirror(parts.lease, parts.spec.annotator.kind, news)
        self._tell(poll.notes)
        again = self._close_answered(news) if news or self._first else []
        self._must_push = self._must_push or bool(again or poll.gone)
        if self._must_push:
            push_open(parts)
        # Only when all else has worked: if the tool goes away on the way, the next poll repeats everything.
        self._cursor, self._first, self._must_push = poll.cursor, False, False

    def _taken_back(self, poll: Poll) -> list[Annotation]:
        """Annotations that the store has and the tool no longer has, as withdrawn ones.

        An annotation that is older than its task is left out: the task was recreated without it.
        """
        if not poll.complete:
            return []
        there = {annotation.external_id for annotation in poll.annotations}
        ours = self.parts.store.annotations(self.campaign_id, list(poll.complete))
        return [
            replace(annotation, withdrawn=True)
            for annotation in newest_revisions(ours)
            if annotation.external_id not in there
            and not annotation.withdrawn
            and annotation.created_at is not None
            and poll.complete[annotation.query_id] <= annotation.created_at
        ]

    def _close_answered(self, new: Collection[Annotation]) -> list[Query]:
        """Close the queries that have their answers; return the further attempts that the rules demand."""
        parts = self.parts
        settled = self._settle(new)
        self._log_refused(settled.refused)
        again = self._further_attempts(settled)
        parts.store.close_queries(
            parts.lease,
            settled.labels,
            [query.query_id for query in settled.skipped],
            [query.query_id for query in settled.disputed],
            follow_up=again,
        )
        return again

    def _settle(self, new: Collection[Annotation]) -> Settled:
        """Settle the queries with new answers; the first time also all that are open.

        An open query without a new answer waits for the same people as before.
        """
        store, rules = self.parts.store, self.parts.spec.labelling
        answered = {annotation.query_id for annotation in new}
        if self._first:
            answered |= {query.query_id for query in store.open_queries(self.campaign_id)}
        attempts = store.attempts(self.campaign_id, sorted(answered))
        concerned = [query for query in attempts if query.query_id in answered]
        ballots = self._load_ballots(attempts)
        crowd = self._crowd_with(ballots) if rules.settle == "dawid_skene" else None
        return settle(concerned, ballots, rules, self.parts.task, crowd)

    def _crowd_with(self, changed: Mapping[str, Ballot]) -> CrowdVotes:
        """All votes of the campaign: people are judged by all that they answered, not by the news alone.

        Args:
            changed: The ballots with new answers, and those of all attempts at their items.
        """
        rules = self.parts.spec.labelling
        if self._crowd is None:
            ballots = self._load_ballots(self.parts.store.queries(self.campaign_id))
            self._crowd = CrowdVotes(votes_of(ballots, rules))
            return self._crowd
        votes: dict[str, dict[str, JsonValue]] = {query_id: {} for query_id in changed}
        for vote in votes_of(changed, rules):
            votes[vote.unit][vote.person] = vote.value
        for query_id, values in votes.items():
            self._crowd.put(query_id, values)
        return self._crowd

    def _load_ballots(self, queries: Sequence[Query]) -> dict[str, Ballot]:
        known = self.parts.store.annotations(self.campaign_id, [query.query_id for query in queries])
        return load_ballots(self.parts.store, self.campaign_id, self.parts.task, queries, known)

    def _further_attempts(self, settled: Settled) -> list[Query]:
        """Further attempts at queries that were just skipped or disputed, as the rules demand."""
        rules, name = self.parts.spec.labelling, self.parts.campaign.name
        again = []
        for query in settled.skipped:
            if rules.skipped == "ask_again" and _may_try_again(query, rules.max_attempts):
                again.append(
                    next_attempt(query, name, wanted=rules.overlap, why="asked again: it was skipped")
                )
        for query in settled.disputed:
            if rules.disputed != "drop" and _may_try_again(query, rules.max_attempts):
                another = rules.disputed == "ask_another"
                why = "another opinion: answers disagree" if another else "asked again: answers disagree"
                again.append(next_attempt(query, name, wanted=1 if another else rules.overlap, why=why))
        return again

    def _log_refused(self, refused: Collection[Refused]) -> None:
        """Tell of each answer that is not a label."""
        if not refused:
            return
        items = self.parts.store.items(self.campaign_id, [each.item_id for each in refused])
        self._tell(
            f"annotation {each.annotation} by {each.person} counts as a skip "
            f"({self.parts.task.complaint(item, each.value)})"
            for each, item in zip(refused, items, strict=True)
        )

    def _tell(self, messages: Iterable[str]) -> None:
        """Log and show each message, once in the life of the campaign."""
        for message in messages:
            if message not in self._logged:
                self._logged.add(message)
                record(self.parts, "collect", message)


def _may_try_again(query: Query, max_attempts: int) -> bool:
    return query.state is QueryState.OPEN and query.attempt < max_attempts
