"""User texts and secrets in printed output."""

from __future__ import annotations

import pytest

from star_al.cli.tables import number, percent
from star_al.display.text import clean, one_line, redacted


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain [red]text[/red]\n\tλ 😀", "plain [red]text[/red]\n\tλ 😀"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\rb\x00c\x7fd\x9b2Je", "abcd2Je"),
        ("cut \x1b", "cut "),
    ],
)
def test_escapes_and_control_characters_go(raw: str, shown: str) -> None:
    assert clean(raw) == shown


def test_one_line_folds_white_space() -> None:
    assert one_line(" a\n\nb\tc ") == "a b c"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("postgresql://me:pw@host/db", "postgresql://me:***@host/db"),
        ("postgresql+psycopg://me:p/w@x@host/db is away", "postgresql+psycopg://me:***@host/db is away"),
        ("postgresql://host/db?user=me&password=pw&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("https://example.org/a:b is no password", "https://example.org/a:b is no password"),
        ("sqlite:///a.db", "sqlite:///a.db"),
    ],
)
def test_passwords_are_redacted(raw: str, shown: str) -> None:
    assert redacted(raw) == shown


def test_numbers_keep_their_columns_narrow() -> None:
    assert [number(x, 2) for x in (0.417, 4.17, 41.7, 417.0, 4170.0)] == [
        "0.42",
        "4.17",
        "41.7",
        "417",
        "4170",
    ]
    assert (number(None, 2), percent(None), percent(0.8731)) == ("–", "–", "87.3")
