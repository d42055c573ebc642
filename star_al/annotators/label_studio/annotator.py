"""People who label in Label Studio, as the annotator of a campaign.

Nothing on the server is idempotent and any reply can be lost, so ``ensure`` states what is to be and makes
what is missing: find the project, list which queries have a task, repair, import the rest. Whatever ends
unclear is waited out and the whole is done again. The promise is one live task a query after the next poll,
and no answer lost or counted twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from star_al.annotators.label_studio import label_config, predictions, project, tasks
from star_al.annotators.label_studio.board import Board, Seen
from star_al.annotators.label_studio.client import (
    Connection,
    MissingError,
    Server,
    UnclearError,
    replies_as_expected,
)
from star_al.annotators.label_studio.project import Plan, Project
from star_al.annotators.label_studio.tasks import Row
from star_al.config.spec import LabelStudioSpec
from star_al.errors import AnnotatorError, AwayError
from star_al.ports import StillOurs
from star_al.task import ClosedTask
from star_al.types import Campaign, Ensured, ExternalTask, Poll, Query

TRIES, LONGEST_PAUSE = 8, 10.0
"""How often something unclear is done again, and the seconds between, which grow up to this."""

T = TypeVar("T")


class LabelStudioAnnotator:
    """One campaign's people. Implements ``ports.Annotator``; asks nothing of the server when made."""

    name = "label_studio"

    def __init__(
        self,
        connection: Connection,
        spec: LabelStudioSpec,
        task: ClosedTask,
        campaign: Campaign,
        overlap: int,
    ) -> None:
        self._server, self._spec = Server(connection), spec
        self._plan = Plan(spec, task, campaign, overlap)
        self._seen = Seen()
        self._board: Board | None = None
        self._places: dict[str, int] = {}  # query id → task, as last known
        self._ours: set[str] = set()  # queries that may have tasks
        self._ensured: set[str] = set()  # open queries that had one at the end of the last ``ensure``
        self._ordered_by: str | None = None  # the model version that all open tasks are known to have

    @property
    def place(self) -> str | None:
        """The project's list of tasks; null before the first ``ensure``."""
        return None if self._board is None else self._url(self._board.project_id)

    def ensure(
        self, queries: Sequence[Query], known: Sequence[ExternalTask], still_ours: StillOurs
    ) -> Ensured:
        """Make each query exist as exactly one open task.

        Raises:
            AnnotatorError: the server cannot be reached or refuses; run again to go on.
        """
        before = {where.query_id: where for where in known if where.annotator == self.name}
        if not queries and not before and self._board is None:
            return Ensured(())  # no task needs a project
        lost: set[str] | None = None  # known queries without a task, when the server was first asked

        def once() -> Board:
            nonlocal lost
            found, board = self._settle_project(before, still_ours)
            self._places = {key: int(where.task) for key, where in before.items()} | self._places
            self._ours = before.keys() | {query.query_id for query in queries}
            self._repair(board, still_ours)
            missing = [query for query in queries if self._row(board, query) is None]
            if lost is None:
                lost = {query.query_id for query in missing} & before.keys()
            if self._spec.deleted == "drop":
                missing = [query for query in missing if query.query_id not in lost]
            self._import(board, found, missing, queries, still_ours)
            self._order(board, found, queries, still_ours)
            self._set_overlaps(board, queries, still_ours)
            return board

        board = self._until_clear(once)
        return self._report(board, queries, before, lost or set())

    def poll(self, cursor: str | None, still_ours: StillOurs) -> Poll:
        """Annotations that are new or changed since ``cursor``; blank extra tasks go.

        Raises:
            AnnotatorError: the server cannot be reached or refuses.
        """

        def once() -> None:
            board = self._look()
            if board is not None:
                self._repair(board, still_ours)

        self._until_clear(once)
        board = self._board
        gone = {key for key in self._ensured if board is None or not board.tasks_of(key)}
        complete = board.made() if board is not None and cursor is None else {}
        return Poll(self._seen.since(cursor), self._seen.cursor, tuple(sorted(gone)), complete)

    def withdraw(self, queries: Sequence[Query], still_ours: StillOurs) -> tuple[str, ...]:
        """Delete the tasks that nobody has touched; ids of the queries that have no task now.

        Raises:
            AnnotatorError: the server cannot be reached or refuses.
        """
        wanted = [query.query_id for query in queries]

        def once() -> None:
            board = self._look()
            blank = sorted(task for key in wanted for task in board.tasks_of(key)) if board else []
            if board is not None and blank:
                still_ours()
                board.removed(tasks.delete_blank(self._server, board.project_id, blank))

        self._until_clear(once)
        board = self._board
        gone = tuple(key for key in wanted if board is None or not board.tasks_of(key))
        self._ours -= set(gone)
        self._ensured -= set(gone)
        return gone

    def examine_project(self) -> str:
        """What the campaign's project is like, in words; changes nothing.

        Raises:
            AnnotatorError: it cannot be used, or the server cannot be reached.
        """
        self._plan.config()  # refuses labels that cannot stand in one
        with replies_as_expected(self._server):
            found = project.find(self._server, self._plan, (), expected=False)
            if found is None:
                return f"new; `star-al run` makes it at {self._server.url}"
            replaced = project.wanted_config(self._server, self._plan, found) is not None
        words = f"{found.title}, {found.tasks} tasks, {found.answers} answers, {self._url(found.project_id)}"
        return words + ("; `star-al run` replaces its label config" if replaced else "")

    def apply_label_config(self) -> str:
        """Put our label config into the campaign's project, whatever it has now; where that is.

        Raises:
            AnnotatorError: there is no project yet, or the server does not take the config.
        """

        def once() -> str:
            found = project.find(self._server, self._plan, (), expected=False)
            if found is None:
                raise AnnotatorError(
                    f"{self._server.url} has no project of campaign {self._plan.campaign.name!r} yet; "
                    "`star-al run` makes one."
                )
            project.set_config(self._server, self._plan, found, lambda: None)
            return self._url(found.project_id)

        return self._until_clear(once)

    # -- steps of ensure -------------------------------------------------------------------------------

    def _settle_project(
        self, before: Mapping[str, ExternalTask], still_ours: StillOurs
    ) -> tuple[Project, Board]:
        """The project as it should be, and what is on it."""
        ids = [] if self._board is None else [self._board.project_id]
        ids += sorted({int(where.project) for where in before.values()} - set(ids), reverse=True)
        expected = bool(before or self._places)
        found = project.settle(self._server, self._plan, ids, still_ours, expected=expected)
        if self._board is None:
            project.delete_blank_extras(self._server, self._plan.campaign.key, found, still_ours)
        return found, self._refreshed(found)

    def _look(self) -> Board | None:
        """What is on the project now; null if it was deleted, or the server's database lost. Changes nothing."""
        if self._board is None:
            found = project.find(self._server, self._plan, (), expected=True)
        else:
            found = project.read(self._server, self._board.project_id)
        if found is None or self._plan.campaign.key not in found.keys:
            self._board = None
            return None
        return self._refreshed(found)

    def _refreshed(self, found: Project) -> Board:
        if self._board is None or self._board.project_id != found.project_id:
            key = self._plan.campaign.key
            self._board = Board(self._server, found.project_id, key, self._seen, self._spec.unsure)
        self._board.refresh(found)
        return self._board

    def _row(self, board: Board, query: Query) -> Row | None:
        """The live task of a query."""
        return board.live(query.query_id, self._places)

    def _repair(self, board: Board, still_ours: StillOurs) -> None:
        """Delete blank tasks that nobody wants: second ones of a query, and late ones of a withdrawn one."""
        surplus = board.surplus(self._ours, self._places)
        if surplus:
            still_ours()
            board.removed(tasks.delete_blank(self._server, board.project_id, surplus))

    def _import(
        self,
        board: Board,
        found: Project,
        missing: Sequence[Query],
        queries: Sequence[Query],
        still_ours: StillOurs,
    ) -> None:
        """Make tasks for the queries without one, the most uncertain first."""
        version = predictions.version(queries)
        ordered = sorted(missing, key=lambda query: (-(query.reason.blended or 0.0), query.rank))
        for chunk in tasks.chunks(self._payload(query, version, found) for query in ordered):
            still_ours()
            ids = tasks.import_chunk(self._server, board.project_id, chunk)
            board.added([payload["meta"][tasks.UID] for payload in chunk], ids, self._plan.overlap)

    def _payload(self, query: Query, version: str | None, found: Project) -> dict[str, Any]:
        item = query.item
        data: dict[str, Any] = {label_config.TEXT: label_config.clean(item.text)}
        if self._plan.task.is_multiple_choice:
            data[label_config.OPTIONS] = label_config.options(item, self._spec.unsure)
        if self._spec.show_reason:
            data[label_config.WHY] = label_config.clean(query.reason.text)
        data[tasks.UID] = query.query_id
        meta = {tasks.UID: query.query_id, tasks.CAMPAIGN: self._plan.campaign.key}
        payload = {"data": data, "meta": meta}
        made = predictions.prediction(query, version, found.config, show=self._spec.show_prediction)
        return payload if made is None else {**payload, "predictions": [made]}

    def _order(self, board: Board, found: Project, queries: Sequence[Query], still_ours: StillOurs) -> None:
        """Let the server order all open tasks by the newest model version."""
        version, show = predictions.version(queries), self._spec.show_prediction
        if version is None or version == found.settings.get("model_version") == self._ordered_by:
            return
        lacking = tasks.without_version(self._server, board.project_id, version)
        scored, more = 0, []
        for query in queries:
            row = self._row(board, query)
            made = predictions.prediction(query, version, found.config, show=show)
            if row is not None and made is not None:
                scored += 1
                if row.task in lacking:
                    more.append({**made, "task": row.task})
        for _ in predictions.add(self._server, board.project_id, more):
            still_ours()
        if scored:  # the server takes no version that no prediction has
            changes = {"model_version": version, "show_collab_predictions": show}
            project.change(self._server, found, changes, still_ours)
            self._ordered_by = version

    def _set_overlaps(self, board: Board, queries: Sequence[Query], still_ours: StillOurs) -> None:
        """Tell the server of the queries that more or fewer people than usual are to answer."""
        for query in queries:
            row = self._row(board, query)
            if row is not None and row.overlap != query.wanted:
                still_ours()
                tasks.set_overlap(self._server, row, query.wanted)
                board.note(replace(row, overlap=query.wanted))

    def _report(
        self, board: Board, queries: Sequence[Query], before: Mapping[str, ExternalTask], lost: set[str]
    ) -> Ensured:
        """Where the queries live, and those known from before that turned out to live elsewhere."""
        asked = {query.query_id for query in queries}
        rows = {key: board.live(key, self._places) for key in asked | before.keys()}
        live = {
            key: ExternalTask(key, self.name, str(board.project_id), str(row.task))
            for key, row in rows.items()
            if row is not None
        }
        self._places.update({key: int(where.task) for key, where in live.items()})
        self._ensured = asked & live.keys()
        ordered = [query.query_id for query in queries]
        moved = [key for key in before if key not in asked and live.get(key, before[key]) != before[key]]
        return Ensured(
            tasks=tuple(live[key] for key in (*ordered, *moved) if key in live),
            restored=tuple(key for key in ordered if key in live and key in lost),
            dropped=tuple(key for key in ordered if key not in live),
        )

    def _until_clear(self, act: Callable[[], T]) -> T:
        """Do something that states what is to be, again and again until nothing about it is unclear.

        Raises:
            AwayError: it stays so.
        """
        pause, reason, missing = 0.25, "", 0
        for _ in range(TRIES):
            try:
                with replies_as_expected(self._server):
                    return act()
            except (UnclearError, MissingError) as exc:
                missing += isinstance(exc, MissingError)
                if missing > 2:  # once is a project deleted under our hands; the next look will tell
                    raise
                reason = str(exc).removeprefix(f"{self._server.url}: ")
                if self._board is not None:
                    self._board.distrust()
                # what was sent may still take effect until then, after our next look at the server
                settled = exc.settled if isinstance(exc, UnclearError) else 0.0
                time.sleep(max(settled - time.monotonic(), 0.0) + pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        raise AwayError(
            f"{self._server.url}: gave up after {TRIES} tries, last: {reason}. Nothing is lost; "
            "run again when the server is well."
        )

    def _url(self, project_id: int) -> str:
        return f"{self._server.url}/projects/{project_id}/data"
