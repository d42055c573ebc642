"""User texts and secrets in printed output."""

from __future__ import annotations

import json

import pytest

from star_al.cli.console import print_json
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
        ("C1 \x9b2J\x85\x90x\x9c", "C1 2Jx"),
        ("\u202ereversed\u202c \u05e9\u05dc\u05d5\u05dd", "reversed \u05e9\u05dc\u05d5\u05dd"),
    ],
)
def test_escapes_and_control_characters_go(raw: str, shown: str) -> None:
    assert clean(raw) == shown


def test_json_has_no_character_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON itself escapes those below U+0020; reading it back gives the text as it was."""
    text = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2066])) + "é 体"
    print_json({"text": text})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"text": text}
    assert clean(shown) == shown and "é 体" in shown


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
