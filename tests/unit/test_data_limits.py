"""No file fills the memory: what is too long or expands too much is refused with the reason."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star_al.data import limits, readers
from star_al.data.readers import read_rows
from star_al.data.source import locate
from star_al.errors import DataError

LONG = 200_000_000


def gzipped(path: Path, before: bytes, after: bytes = b"") -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(before)
        for _ in range(LONG // 1_000_000):
            file.write(b"x" * 1_000_000)
        file.write(after)


def long_parquet(path: Path) -> None:
    pq.write_table(pa.table({"text": ["x" * LONG]}), path, compression="zstd", use_dictionary=False)


def repeated_parquet(path: Path) -> None:
    codes = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array(["x" * 8_000_000]))
    pq.write_table(pa.table({"text": codes}), path, compression="zstd", dictionary_pagesize_limit=2**30)


def bomb_xlsx(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", b"x" * LONG)


BOMBS: dict[str, Callable[[Path], None]] = {
    "line.csv.gz": lambda path: gzipped(path, b"text\n"),
    "line.tsv.gz": lambda path: gzipped(path, b"text\tn\n"),
    "cell.csv.gz": lambda path: gzipped(path, b'text\n"', b'"\n'),
    "line.jsonl.gz": lambda path: gzipped(path, b'{"text": "', b'"}\n'),
    "array.json.gz": lambda path: gzipped(path, b'[\n{"text": "', b'"}]'),
    "long.parquet": long_parquet,
    "bomb.xlsx": bomb_xlsx,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_little_memory(tmp_path: Path, name: str) -> None:
    BOMBS[name](tmp_path / name)
    program = (
        "import sys, resource; from pathlib import Path\n"
        "import pyarrow.parquet\n"
        "from star_al.data.readers import read_rows; from star_al.data.source import locate\n"
        "from star_al.errors import DataError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: list(read_rows(locate(sys.argv[2], Path(sys.argv[1]))))\n"
        "except DataError as exc: print(exc)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), name],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    message, grown = done.stdout.splitlines()
    assert "the most that is read" in message or "times as much text" in message
    assert int(grown) * (1 if sys.platform == "darwin" else 1024) < 0.9 * LONG


def test_long_cells_of_parquet_are_decoded_few_at_a_time(tmp_path: Path) -> None:
    repeated_parquet(tmp_path / "d.parquet")  # a few kilobytes, which stand for 16 GB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = read_rows(locate("d.parquet", tmp_path))
    assert len(next(rows).values["text"]) == 8_000_000
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 1.5e9


def test_a_file_that_expands_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LARGE", 1000)
    with gzip.open(tmp_path / "d.jsonl.gz", "wt") as file:
        file.write((json.dumps({"text": "y" * 5000}) + "\n") * 1000)
    with pytest.raises(DataError, match=r"hold more than 200 times as much text"):
        list(read_rows(locate("d.jsonl.gz", tmp_path)))


def test_too_many_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(",".join(f"c{n}" for n in range(10_001)) + "\n1\n")
    (tmp_path / "d.jsonl").write_text(json.dumps({f"c{n}": n for n in range(10_001)}) + "\n")
    for name in ("d.csv", "d.jsonl"):
        with pytest.raises(DataError, match=r"line 1: 10,001 columns, but at most 10,000 are read"):
            list(read_rows(locate(name, tmp_path)))


def test_memory_that_runs_out_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(table: object) -> object:
        raise MemoryError

    monkeypatch.setitem(readers._READERS, "csv", out_of_memory)
    (tmp_path / "d.csv").write_text("t\na\n")
    with pytest.raises(DataError, match=r"d\.csv: needs more memory than there is"):
        list(read_rows(locate("d.csv", tmp_path)))
