"""The form of a text file is found, the same each time, and what a campaign says about it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from star_al.data.dialects import describe, is_usual, text_form
from star_al.data.readers import read_rows
from star_al.data.source import Dialect, Table, locate
from star_al.errors import DataError
from star_al.types import JsonObject

BILLS = [
    {"text": "“Größe” passt nicht, 5 € zu teuer", "label": "a"},
    {"text": "plain; more | text", "label": "b"},
]


def table(folder: Path, content: str | bytes, name: str = "d.csv", **dialect: object) -> Table:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return locate(name, folder, dialect=Dialect(**dialect))  # type: ignore[arg-type]


def rows(source: Table) -> list[JsonObject]:
    return [row.values for row in read_rows(source)]


def csv_text(delimiter: str, newline: str = "\n") -> str:
    cells = [["text", "label"], *([f'"{row["text"]}"', row["label"]] for row in BILLS)]
    return newline.join(delimiter.join(row) for row in cells) + newline


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_delimiter_encoding_and_line_ends_are_found(
    tmp_path: Path, delimiter: str, encoding: str, newline: str
) -> None:
    source = table(tmp_path, csv_text(delimiter, newline).encode(encoding), quotes=True)
    assert rows(source) == BILLS
    assert text_form(source).delimiter == delimiter


@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        ("Le café était très bon", "cp1252", "cp1252"),
        ("£5 only", "cp1252", "cp1252"),
        ("It’s “great”", "cp1252", "cp1252"),
        ("Zażółć gęślą jaźń i łódź, świetny film", "cp1250", "cp1250"),
        ("Очень хороший фильм, плохой сервис", "cp1251", "cp1251"),
        ("料理が冷めていて、店員の態度も悪かった。二度と行きません。", "cp932", "cp932"),
        ("这部电影非常好看，我很喜欢", "gb18030", "gb18030"),
    ],
)
def test_what_is_not_utf_8_is_guessed(tmp_path: Path, text: str, encoding: str, found: str) -> None:
    source = table(tmp_path, f"text\n{text}\n".encode(encoding))
    assert text_form(source).encoding == found
    assert f"encoding {found.replace('cp125', 'Windows-125')}".casefold() in describe(
        source, text_form(source)
    ).casefold().replace("shift-jis", "cp932")


def test_a_late_byte_that_is_not_utf_8_is_found(tmp_path: Path) -> None:
    source = table(tmp_path, b"text\n" + (b"plain " * 100 + b"\n") * 8_000 + "Größe\n".encode("cp1252"))
    assert rows(source)[-1] == {"text": "Größe"}


def test_what_the_campaign_says_stands(tmp_path: Path) -> None:
    content = "text;n\nGröße, a;1\n".encode("cp1250")
    assert rows(table(tmp_path, content, encoding="cp437")) == [{"text": "Gr÷▀e, a", "n": "1"}]
    assert rows(table(tmp_path, content, fallback_encoding="cp437")) == [{"text": "Gr÷▀e, a", "n": "1"}]
    assert rows(table(tmp_path, "text;n\nGröße;1\n", fallback_encoding="cp437")) == [
        {"text": "Größe", "n": "1"}
    ]
    with pytest.raises(DataError, match=r"d\.csv, line 2: byte 3 is not UTF-8"):
        rows(table(tmp_path, content, encoding="utf-8"))


REVIEWS = 'text\tlabel\n"The soup was cold.\tneg\nThe waiter never came.\tneg\nI left."\tneg\nGood\tpos\n'


def test_quotations_over_several_rows_of_a_tsv_do_not_melt_them(tmp_path: Path) -> None:
    source = table(tmp_path, REVIEWS, "reviews.tsv")
    assert [row["text"] for row in rows(source)] == [
        '"The soup was cold.', "The waiter never came.", 'I left."', "Good"
    ]  # fmt: skip
    assert "quotation marks are part of the texts" in describe(source, text_form(source))
    assert not is_usual(source, text_form(source))


@pytest.mark.parametrize(
    ("lines", "texts"),
    [
        (['ham\t"Late" is no word', "spam\twin"], ['"Late" is no word', "win"]),
        (['ham\t"Great film"', "spam\twin"], ['"Great film"', "win"]),
        (['ham\t"He said ""hi"""', "spam\twin"], ['He said "hi"', "win"]),
        (['"ham"\t"hi"', '"spam"\t"win"', '"ham"\t"yes"'], ["hi", "win", "yes"]),
        (['ham\t"two\nlines"', "spam\twin"], ["two\nlines", "win"]),
        (['ham\t"a\ttab"', "spam\twin"], ["a\ttab", "win"]),
        (['ham\t7" disk', "spam\twin"], ['7" disk', "win"]),
    ],
)
def test_quotes_of_a_tsv_are_read_as_they_were_written(
    tmp_path: Path, lines: list[str], texts: list[str]
) -> None:
    quoted = lines[0].startswith('"')
    header = '"label"\t"text"' if quoted else "label\ttext"
    source = table(tmp_path, "\n".join([header, *lines]) + "\n", "d.tsv")
    assert [row["text"] for row in rows(source)] == texts


def test_a_csv_cell_over_lines_that_look_like_rows_is_doubted(tmp_path: Path) -> None:
    content = REVIEWS.replace("\t", ",")
    source = table(tmp_path, content)
    assert len(rows(source)) == 2  # quotes are the rule in CSV
    assert "spans several lines, each of which could be a row" in text_form(source).doubt
    assert len(rows(table(tmp_path, content, quotes=False))) == 4
    assert not text_form(table(tmp_path, 'text,label\n"a, b\nc, d, e",x\nf,y\n')).doubt


def test_columns_without_a_name_are_there_where_they_hold_something(tmp_path: Path) -> None:
    source = table(tmp_path, "label,message,,,\nham,see you,,,\nspam,win, a prize,,\n")
    assert rows(source) == [
        {"label": "ham", "message": "see you"},
        {"label": "spam", "message": "win", "column_3": " a prize"},
    ]
    assert rows(table(tmp_path, ",text\n0,a\n")) == [{"": "0", "text": "a"}]  # the index that pandas writes


def test_without_a_header_columns_have_numbers(tmp_path: Path) -> None:
    source = table(tmp_path, "ham\tsee you\nspam\twin\n", "d.tsv", header=False)
    assert rows(source) == [
        {"column_1": "ham", "column_2": "see you"},
        {"column_1": "spam", "column_2": "win"},
    ]


@pytest.mark.parametrize("content", ["text,n\na,1\n", 'text,n\n"a\nb",1\n', "text\na; b\n"])
def test_a_plain_file_is_nothing_to_mention(tmp_path: Path, content: str) -> None:
    source = table(tmp_path, content)
    assert is_usual(source, text_form(source))


def test_the_line_in_which_excel_names_the_separator_is_no_header(tmp_path: Path) -> None:
    source = table(tmp_path, "sep=;\ntext;label\na, b;x\nc;y;z\n")
    with pytest.raises(DataError, match=r"d\.csv, line 4: 3 cells, but the header has 2"):
        rows(source)
    assert rows(table(tmp_path, '"sep=;"\r\ntext;label\r\na;x\r\n')) == [{"text": "a", "label": "x"}]


def test_a_byte_order_mark_is_said(tmp_path: Path) -> None:
    source = table(tmp_path, b"\xef\xbb\xbftext,n\na,1\n")
    assert describe(source, text_form(source)).endswith("encoding UTF-8 with a byte order mark.")
    assert is_usual(source, text_form(source)) and rows(source) == [{"text": "a", "n": "1"}]
