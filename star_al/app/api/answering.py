"""Questions that a program asks of a campaign, and the answers that it tells."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from star_al.app.api.question import Question, make_question
from star_al.app.api.session import Session
from star_al.config.spec import ApiSpec
from star_al.errors import ConfigError, DataError, LeaseLostError
from star_al.labelling.ballots import newest_revisions
from star_al.labelling.inbox import Inbox
from star_al.task import make_task
from star_al.types import Annotation, Campaign, JsonValue, Query, RoundState

BETWEEN_ROUNDS = (RoundState.PUSHED, RoundState.COLLECTED, RoundState.STOPPED)
"""States in which answers may become labels. In the other states a round is being computed; an answer is stored
and becomes a label when the round collects."""


def ask(session: Session, n: int, annotator: str | None) -> list[Question]:
    """Hand out open questions; if there are none, run the loop until there are. See ``Campaign.ask``."""
    annotator = _person(session, annotator)
    with session.lock:
        found = _open_queries(session, annotator)
        if not found:
            session.run(None, wait=True)
            found = _open_queries(session, annotator)
        chosen = found[:n]
        for query in chosen:
            session.annotator.hand_out(query.query_id, annotator)
    return _questions(session, chosen)


def answer(
    session: Session,
    question: Question | str,
    label: JsonValue | Collection[str],
    annotator: str | None,
    seconds: float | None,
) -> None:
    """Store an answer; ``label`` is None for a skip. See ``Campaign.tell`` and ``Campaign.skip``."""
    annotator = _person(session, annotator)
    campaign = session.campaign()
    query_id = question if isinstance(question, str) else question.id
    query = None if campaign is None else _find_query(session, campaign, query_id)
    if campaign is None or query is None:
        raise DataError(
            f"there is no question {query_id!r} in campaign {session.file.spec.name!r}. It may have been withdrawn; "
            "call ask() for open questions."
        )
    annotation = Annotation(
        external_id=f"{query_id}:{annotator}",
        query_id=query_id,
        value=None if label is None else _value(session, campaign, query, label),
        skipped=label is None,
        annotator=annotator,
        lead_time=seconds,
    )
    _record(session, campaign, annotation)


def _person(session: Session, annotator: str | None) -> str:
    """Return who answers, after checking that this campaign can be asked and who must be named."""
    spec = session.file.spec
    if not isinstance(spec.annotator, ApiSpec):
        raise ConfigError(
            f"{session.file.path}: ask and tell need annotator.kind: api, but it is {spec.annotator.kind}."
        )
    if annotator is None and (spec.labelling.overlap > 1 or spec.labelling.skipped == "ask_another"):
        why = (
            "labelling.overlap is above 1"
            if spec.labelling.overlap > 1
            else "labelling.skipped is ask_another"
        )
        raise ConfigError(f"{session.file.path}: {why}, so the annotator must be named: annotator='ann'.")
    return annotator or session.annotator.name


def _questions(session: Session, queries: Sequence[Query]) -> list[Question]:
    campaign = session.campaign()
    if campaign is None:
        return []
    items = session.store.items(campaign.campaign_id, [query.item_id for query in queries])
    task = make_task(session.file.spec.task)
    return [make_question(query, item, task) for query, item in zip(queries, items, strict=True)]


def _open_queries(session: Session, annotator: str) -> list[Query]:
    """Return the open queries that an annotator has not answered; those that others are answering come last."""
    campaign = session.campaign()
    if campaign is None:
        return []
    store, campaign_id = session.store, campaign.campaign_id
    queries = store.open_queries(campaign_id)
    answered: dict[str, set[str | None]] = {}
    for each in newest_revisions(store.annotations(campaign_id, [query.query_id for query in queries])):
        answered.setdefault(each.query_id, set()).add(each.annotator)

    def is_taken(query: Query) -> bool:
        people = answered.get(query.query_id, set()) | session.annotator.holders(query.query_id)
        return len(people - {annotator}) >= query.wanted

    found = [query for query in queries if annotator not in answered.get(query.query_id, set())]
    return sorted(found, key=is_taken)


def _find_query(session: Session, campaign: Campaign, query_id: str) -> Query | None:
    attempts = session.store.attempts(campaign.campaign_id, [query_id])
    return next((each for each in attempts if each.query_id == query_id), None)


def _value(
    session: Session, campaign: Campaign, query: Query, label: JsonValue | Collection[str]
) -> JsonValue:
    (item,) = session.store.items(campaign.campaign_id, [query.item_id])
    task = make_task(session.file.spec.task)
    given = _plain(label)
    found = task.find(item.options, given)
    if found is None:
        names = task.choices(item)
        raise DataError(
            f"{task.complaint(item, given)}."
            if names is None
            else f"{label!r} is not a label of this question. Its labels are: {', '.join(names)}."
        )
    return found


def _record(session: Session, campaign: Campaign, annotation: Annotation) -> None:
    """Store an annotation, under the lease of a loop in another thread if one is running."""
    parts = session.running
    if parts is not None:
        try:
            parts.store.mirror(parts.lease, session.annotator.name, [_dated(session, campaign, annotation)])
            session.annotator.take_back(annotation.query_id, annotation.annotator)
            return
        except LeaseLostError:
            pass  # the loop has just ended
    with session.lock, session.leased(campaign) as parts:
        annotation = _dated(session, campaign, annotation)
        session.annotator.hand_in(annotation)
        rounds = parts.store.rounds(campaign.campaign_id)
        if rounds and rounds[-1].state not in BETWEEN_ROUNDS:
            answers = session.annotator.poll(None, lambda: None).annotations
            parts.store.mirror(parts.lease, session.annotator.name, answers)
        else:
            Inbox(parts).take_in()


def _dated(session: Session, campaign: Campaign, annotation: Annotation) -> Annotation:
    """Date an annotation by its first revision, since the order in which people answer settles ties."""
    known = session.store.annotations(campaign.campaign_id, [annotation.query_id])
    first = [each.created_at for each in known if each.external_id == annotation.external_id]
    return replace(annotation, created_at=first[0] if first else datetime.now(UTC))


def _plain(label: Any) -> JsonValue:
    """Return a label as JSON has it: a list for a tuple or set, and what a value of NumPy or pandas holds."""
    if isinstance(label, tuple | set | frozenset):
        return list(label)
    return label.tolist() if hasattr(label, "tolist") else label  # type: ignore[no-any-return]
