"""Time the exchange with a new Label Studio server on SQLite: push, incremental polls, full reconciliation.

python scripts/bench_label_studio.py --queries 5000 --json bench.json
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from star_al.annotators.label_studio.annotator import LabelStudioAnnotator
from star_al.annotators.label_studio.client import Connection
from star_al.config.spec import LabelStudioSpec, task_spec
from star_al.task import make_task
from star_al.types import Campaign, Item, Query, Reason, Role
from support.label_studio_server import LabelStudio, start_server
from support.server_side import ServerSide

LABELS = ("sport", "business", "tech")
SOME = 20  # new answers in the incremental poll that has some


def load_items(item_ids: Sequence[str]) -> list[Item]:
    """Return items with texts of about 200 characters."""
    return [Item(item_id, f"{item_id} " + "some words of an ordinary length, " * 6) for item_id in item_ids]


def make_queries(n: int) -> list[Query]:
    """Return ``n`` queries, most uncertain first."""
    return [
        Query(
            query_id=f"bench-{number}",
            item_id=f"item-{number}",
            round_index=0,
            purpose=Role.POOL,
            rank=number + 1,
            reason=Reason("uncertain", measure="entropy", blended=1 - number / n, predicted="tech"),
        )
        for number in range(n)
    ]


class Bench:
    """Runs one campaign on the server and records the time of each part in ``seconds``."""

    def __init__(self, server: LabelStudio) -> None:
        self._server = server
        self._campaign = Campaign(1, f"bench-{time.time_ns()}", 1, {}, 0, key=f"bench{time.time_ns()}")
        self._side = ServerSide(server.url, server.token, self._campaign.name)
        self.seconds: dict[str, float] = {}

    def run(self, n: int) -> None:
        """Time all parts in turn with ``n`` queries."""
        queries = make_queries(n)
        annotator = self._annotator()
        with self._timed("push"):
            known = annotator.ensure(queries, (), _ours).tasks
        assert len({task.task for task in known}) == n
        with self._timed("first poll"):
            cursor = annotator.poll(None, _ours).cursor
        with self._timed("incremental poll, no answer"):
            poll = annotator.poll(cursor, _ours)
        assert poll.annotations == ()
        self._answer_some()
        with self._timed(f"incremental poll, {SOME} answers"):
            answers = annotator.poll(poll.cursor, _ours).annotations
        assert len({answer.external_id for answer in answers}) == SOME
        annotator = self._annotator()
        with self._timed("full reconciliation"):
            assert len(annotator.ensure(queries, known, _ours).tasks) == n
        with self._timed("first poll after it"):
            assert len(annotator.poll(None, _ours).annotations) == SOME

    def _annotator(self) -> LabelStudioAnnotator:
        task = make_task(task_spec({"kind": "classification", "labels": LABELS}))
        connection = Connection(self._server.url, self._server.token, 30.0)
        spec = LabelStudioSpec(kind="label_studio", url=self._server.url)
        return LabelStudioAnnotator(connection, spec, task, self._campaign, 1, load_items)

    def _answer_some(self) -> None:
        for task in self._side.tasks()[:SOME]:
            self._side.answer(task, LABELS[0])

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)
        print(f"{name:<32} {self.seconds[name]:7.2f} s", flush=True)


def _ours() -> None:
    """Lease check: the campaign is always ours."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--json", type=Path, help="write the seconds to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder) / "server")
        try:
            bench = Bench(server)
            bench.run(arguments.queries)
        finally:
            server.stop()
    if arguments.json:
        figures = {"queries": arguments.queries, "seconds": bench.seconds}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
