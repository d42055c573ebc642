"""Studies: campaigns that are run to be compared."""

from __future__ import annotations

from sqlalchemy import Connection, select

from db.statements import insert_new, now
from db.tables import StudyRow, StudyRunRow
from star_al.types import Study, StudyRun


def save(connection: Connection, study: Study) -> Study:
    """Make the study, or add its runs to the one of this name; return all of it."""
    row = {"name": study.name, "config": study.config, "created_at": now(connection)}
    insert_new(connection, StudyRow, [row])
    study_id = connection.scalars(select(StudyRow.study_id).where(StudyRow.name == study.name)).one()
    runs = [
        {"study_id": study_id, "strategy": run.strategy, "seed": run.seed, "campaign": run.campaign}
        for run in study.runs
    ]
    insert_new(connection, StudyRunRow, runs)
    found = find(connection, study.name)
    assert found is not None
    return found


def find(connection: Connection, name: str) -> Study | None:
    """The study of this name, its runs ordered by strategy and seed."""
    row = connection.execute(
        select(StudyRow.study_id, StudyRow.config).where(StudyRow.name == name)
    ).one_or_none()
    if row is None:
        return None
    chosen = select(StudyRunRow.strategy, StudyRunRow.seed, StudyRunRow.campaign)
    runs = connection.execute(chosen.where(StudyRunRow.study_id == row.study_id))
    ordered = sorted((StudyRun(*run) for run in runs), key=lambda run: (run.strategy, run.seed))
    return Study(name, row.config, tuple(ordered))
