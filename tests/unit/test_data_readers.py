"""Every file format is read, and each way to be unreadable has one message."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star_al.data.readers import read_rows
from star_al.data.source import Table, locate, locate_here
from star_al.errors import DataError
from star_al.types import JsonObject

ROWS = [{"text": "a, “quoted” “b”\nsecond line", "n": "1"}, {"text": "emoji 🐙\u2028after", "n": "2"}]


def rows_of(path: Path) -> list[JsonObject]:
    return [row.values for row in read_rows(locate(path.name, path.parent))]


def error_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        rows_of(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def jsonl(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


CSV = '\ufefftext,n\r\n"a, “quoted” “b”\nsecond line",1\r\nemoji 🐙\u2028after,2\r\n\r\n'.encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.jsonl", jsonl(ROWS)),
        ("d.ndjson", b"\xef\xbb\xbf" + jsonl(ROWS).replace(b"\n", b"\r\n") + b"\r\n"),
        ("D.JSONL", jsonl(ROWS).rstrip(b"\n")),
        ("d.jsonl.gz", gzip.compress(jsonl(ROWS), mtime=0)),
        ("d.csv", CSV),
        ("d.tsv", CSV.replace(b",1", b"\t1").replace(b"text,n", b"text\tn").replace(b",2", b"\t2")),
        ("d.csv.gz", gzip.compress(CSV, mtime=0)),
    ],
)
def test_every_text_format_gives_the_same_rows(tmp_path: Path, name: str, content: bytes) -> None:
    assert rows_of(write(tmp_path / name, content)) == ROWS


def test_parquet_gives_the_same_rows_over_several_batches(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS * 700), tmp_path / "d.parquet", row_group_size=300)
    assert rows_of(tmp_path / "d.parquet") == ROWS * 700


def test_a_saved_datasets_folder_gives_class_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    data = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    data.save_to_disk(str(tmp_path / "plain"))
    datasets.DatasetDict({"test": data}).save_to_disk(str(tmp_path / "splits"))
    expected = ["yes", "no", None]
    assert [row["label"] for row in rows_of(tmp_path / "plain")] == expected
    table = locate("splits", tmp_path, split="test")
    assert [row.values["label"] for row in read_rows(table)] == expected
    with pytest.raises(DataError, match=r"splits: has no split 'train'\. It has: test"):
        list(read_rows(locate("splits", tmp_path, split="train")))


def test_numbers_are_line_numbers_of_the_first_line_of_a_row(tmp_path: Path) -> None:
    path = write(tmp_path / "d.csv", 't\n"a\nb"\n\nc\n')
    assert [row.number for row in read_rows(locate("d.csv", tmp_path))] == [2, 5]
    path = write(tmp_path / "d.jsonl", '{"t": 1}\n\n{"t": 2}\n')
    assert [row.number for row in read_rows(locate(path.name, tmp_path))] == [1, 3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.jsonl", b"", "d.jsonl: holds no rows"),
        ("d.jsonl", b"\n \n", "d.jsonl: holds no rows"),
        ("d.csv", b"", "d.csv: holds no rows"),
        ("d.csv", b"text,n\n", "d.csv: holds no rows"),
        ("d.jsonl", b'{"t": 1}\n{"t": \n', "d.jsonl, line 2: not valid JSON"),
        ("d.jsonl", b'{"t": 1}\n["t"]\n', "d.jsonl, line 2: a JSON list, not an object"),
        ("d.json", b'{\n  "t": 1\n}\n', "row 1: not valid JSON (Expecting property name"),
        ("d.json", b'[{"t": 1},\n {"t": oops}]', "d.json, row 2: not valid JSON (Expecting value)"),
        ("d.jsonl", b'[{"t": 1},\n\n {"t": oops}]', "d.jsonl, line 3: not valid JSON (Expecting value)"),
        ("d.json", b'[{"t": 1} {"t": 2}]', "row 2: not valid JSON ('{' stands where ',' should)"),
        ("d.json", b'[{"t": 1}', "row 2: not valid JSON (the array is not closed)"),
        ("d.json", b'[{"t": "never', "row 1: not valid JSON (Unterminated string starting at)"),
        ("d.json", b'["a", "b"]', "row 1: a JSON str, not an object"),
        ("d.jsonl", b"[" * 100_000, "line 1: not valid JSON"),
        ("d.jsonl", b'{"t": ' + b"9" * 5000 + b"}", "line 1: not valid JSON"),
        ("d.csv", b"\x89PNG\r\n\x1a\n\x00\xff", "d.csv: holds NUL bytes. Is the file binary?"),
        ("d.csv", b"te\x00xt\na\n", "line 1: the header holds NUL"),
        ("d.csv", b"text,n\na,1\nb\n", "d.csv, line 3: 1 cell, but the header has 2"),
        ("d.csv", b"text,n\na,b,1\n", "d.csv, line 2: 3 cells, but the header has 2"),
        (
            "d.tsv",
            b'text\tn\na\t1\n"b\nc\n',
            "d.tsv, line 3: 1 cell, but the header has 2. The file was read as",
        ),
        ("d.csv", b"text,text\na,b\n", "the header names 'text' twice"),
        ("d.csv", b'text,n\n"never closed,1\nb,2\n', "d.csv, line 2: not valid CSV"),
        ("d.parquet", b"PAR0 not a parquet file", "d.parquet: not a readable Parquet file"),
        ("d.parquet", b"", "d.parquet: not a readable Parquet file"),
        ("d.jsonl.gz", b"not gzip", "d.jsonl.gz: damaged gzip file"),
        ("d.jsonl.gz", gzip.compress(jsonl(ROWS * 50), mtime=0)[:-20], "d.jsonl.gz: damaged gzip file"),
        ("d.xlsx", b"PK", "d.xlsx: not a readable Excel file"),
        ("d.xls", b"", "d.xls: unknown kind of file. Known suffixes: .jsonl"),
        ("d.parquet.gz", b"", "d.parquet.gz: unknown kind of file"),
    ],
)
def test_unreadable_files_get_one_clear_message(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    assert message in error_of(write(tmp_path / name, content))


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS * 1000), tmp_path / "d.parquet")
    whole = (tmp_path / "d.parquet").read_bytes()
    assert "not a readable Parquet file" in error_of(write(tmp_path / "d.parquet", whole[: len(whole) // 2]))


@pytest.mark.parametrize("name", ["absent.jsonl", "./absent", "../absent", "a/b/c", "/absent/x.csv", "x y"])
def test_a_missing_path_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no such file"):
        locate(name, tmp_path)


def test_the_message_for_a_missing_path_says_what_it_is_relative_to(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Paths are relative to the campaign file"):
        locate("absent.csv", tmp_path)
    with pytest.raises(DataError, match="Paths are relative to the current folder"):
        locate_here("absent.csv")


def test_a_path_that_cannot_be_looked_up_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be looked up \(File name too long\)"):
        locate("x" * 300 + ".csv", tmp_path)


def test_what_is_no_path_is_a_hub_name_unless_it_exists(tmp_path: Path) -> None:
    assert locate("org/news", tmp_path) == Table("org/news", "hub")
    write(tmp_path / "news.csv", "t\na\n")
    assert locate("news.csv", tmp_path).path == tmp_path / "news.csv"
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="this is a folder, but not one written by"):
        locate("folder", tmp_path)


def test_a_file_that_vanishes_or_turns_into_a_folder_is_one_message(tmp_path: Path) -> None:
    gone = Table("gone.jsonl", "jsonl", tmp_path / "gone.jsonl")
    with pytest.raises(DataError, match=r"gone\.jsonl: cannot be read \(No such file"):
        list(read_rows(gone))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_rows(Table("folder", "csv", tmp_path)))


def test_a_cell_of_a_megabyte_is_read(tmp_path: Path) -> None:
    long = "x" * 1_000_000
    assert rows_of(write(tmp_path / "d.csv", f"text\n{long}\n")) == [{"text": long}]


def test_reading_holds_no_more_than_a_few_rows_in_memory(tmp_path: Path) -> None:
    """60 MB of rows are read with less than 20 MB in addition to the imports."""
    path = tmp_path / "big.jsonl"
    with path.open("w") as file:
        for number in range(60):
            file.write(json.dumps({"text": "x" * 1_000_000, "n": number}) + "\n")
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from star_al.data.readers import read_rows; from star_al.data.source import locate\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); n = sum(1 for _ in read_rows(locate('big.jsonl', Path(sys.argv[1]))))\n"
        "print(n, peak() - before)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True
    )
    n_rows, grown = map(int, done.stdout.split())
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    assert n_rows == 60
    assert grown * unit < 20e6
