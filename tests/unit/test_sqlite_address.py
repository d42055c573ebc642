"""A file's path is the same file after it has been through a URL, whatever its folders are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from db.engine import Database, parse_url, sqlite_file
from star_al.common.sqlite_address import split_sqlite_address, sqlite_address
from star_al.config.file import load_campaign
from support.campaigns import write_campaign

ODD = ["plain", "kept? yes", "a%20b", "50 % done", "x#y", "a?b=c", "q?mode=ro&uri=true", "größe", "a+b & c;d"]


@pytest.mark.parametrize("name", ODD)
def test_an_address_leads_back_to_its_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / f"{name}.db"
    assert split_sqlite_address(sqlite_address(path)) == (str(path), "")
    assert sqlite_file(parse_url(sqlite_address(path))) == path


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("url", [None, "sqlite:///other.db"])
def test_a_database_lies_in_its_own_folder(name: str, url: str | None, tmp_path: Path) -> None:
    changes: dict[str, Any] = {} if url is None else {"database": {"url": url}}
    file = load_campaign(write_campaign(tmp_path / name, **changes))
    database = Database(file.database_url)
    database.read(lambda connection: connection.exec_driver_sql("SELECT 1"))
    database.close()
    expected = "small.db" if url is None else "other.db"
    assert [path.name for path in (tmp_path / name).glob("*.db")] == [expected]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("written", "path", "query"),
    [
        ("sqlite:////data/kept? yes/x.db", "/data/kept? yes/x.db", {}),
        ("sqlite:////data/a%20b/x#1.db", "/data/a b/x#1.db", {}),
        ("sqlite:////data/x.db?timeout=5", "/data/x.db", {"timeout": "5"}),
        ("sqlite+pysqlite:////data/x.db", "/data/x.db", {}),
    ],
)
def test_an_address_written_by_hand(written: str, path: str, query: dict[str, str]) -> None:
    url = parse_url(written)
    assert (url.database, dict(url.query)) == (path, query)


def test_other_addresses_are_left_alone() -> None:
    assert split_sqlite_address("postgresql://u@h/d?a=b") is None
    assert parse_url("postgresql://u@h/d") == make_url("postgresql+psycopg://u@h/d")
