"""Features are computed once a text, also by two processes at once, after a kill, and where a file is damaged."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from star_al.models import feature_store
from star_al.models.encoded import Encoded
from star_al.models.feature_store import Compute, FeatureStore, Positions, paged, text_key
from star_al.types import Float32Array

FINGERPRINT = "0123456789abcdef" * 4
DIMENSION = 5


def keys(n: int, first: int = 0) -> list[str]:
    return [f"key{number}" for number in range(first, first + n)]


def vectors(names: list[str], version: float = 0.0) -> Float32Array:
    """A vector that only depends on the key, and on a version that tells who computed it."""
    numbers = np.array([int(name.removeprefix("key")) for name in names])
    return (numbers[:, None] + np.arange(DIMENSION) / 10 + version).astype(np.float32)


def encoder(names: list[str], seen: list[int], version: float = 0.0, page: int = 3) -> Compute:
    def encode(positions: Positions) -> Encoded:
        seen.extend(positions.tolist())
        part = [names[position] for position in positions]
        cut = np.array([name.endswith("7") for name in part])
        return Encoded(vectors(part, version), cut)

    return paged(encode, page)


def open_store(
    root: Path,
    say: Callable[[str], None] = lambda _: None,
    *,
    limit: int = 10**6,
    fingerprint: str = FINGERPRINT,
) -> FeatureStore:
    return FeatureStore(root, fingerprint, limit, say)


def none(_: Positions) -> Iterator[tuple[Positions, Encoded]]:
    raise AssertionError("everything is stored")


def test_each_text_is_computed_once(tmp_path: Path) -> None:
    names, seen = keys(10), list[int]()
    found = open_store(tmp_path).rows(names, encoder(names, seen))
    np.testing.assert_array_equal(found.vectors_N_d, vectors(names))
    assert found.cut_N.tolist() == [name == "key7" for name in names] and seen == list(range(10))
    again = open_store(tmp_path).rows(names[::-1], none)
    np.testing.assert_array_equal(again.vectors_N_d, vectors(names[::-1]))
    assert again.cut_N.tolist() == found.cut_N[::-1].tolist()


def test_only_missing_texts_are_computed_and_equal_ones_once(tmp_path: Path) -> None:
    store, seen = open_store(tmp_path), list[int]()
    store.rows(keys(4), encoder(keys(4), []))
    names = [*keys(3, first=2), "key9", "key4", "key9"]
    found = store.rows(names, encoder(names, seen))
    np.testing.assert_array_equal(found.vectors_N_d, vectors(names))
    assert seen == [2, 3]


def test_rows_in_order_are_the_mapped_file(tmp_path: Path) -> None:
    names = keys(10)
    store = open_store(tmp_path)
    store.rows(names, encoder(names, []))
    found = store.rows(names[2:8], none).vectors_N_d
    assert not found.flags.owndata and not found.flags.writeable
    np.testing.assert_array_equal(found, vectors(names[2:8]))


def test_what_another_process_stored_first_stays(tmp_path: Path) -> None:
    """Both have computed the same texts, with different last bits: both serve what was stored first."""
    names, first, second = keys(4), open_store(tmp_path), open_store(tmp_path)

    def slow(missing: Positions) -> Iterator[tuple[Positions, Encoded]]:
        first.rows(names[1:], encoder(names[1:], []))
        yield from encoder(names, [], version=0.5)(missing)

    found = second.rows(names, slow).vectors_N_d
    np.testing.assert_array_equal(found[1:], vectors(names[1:]))
    np.testing.assert_array_equal(found[:1], vectors(names[:1], version=0.5))
    np.testing.assert_array_equal(first.rows(names, none).vectors_N_d, found)


def _fill(root: Path, names: list[str]) -> None:
    open_store(root).rows(names, encoder(names, [], page=7))


def test_two_processes_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    parts = [keys(600), keys(600, first=300)]
    running = [context.Process(target=_fill, args=(tmp_path, part)) for part in parts]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0, 0]
    found = open_store(tmp_path).rows(keys(900), none)
    np.testing.assert_array_equal(found.vectors_N_d, vectors(keys(900)))
    index = tmp_path / FINGERPRINT[:16] / "index.bin"
    assert index.stat().st_size == feature_store._HEADER.itemsize + 900 * feature_store._RECORD.itemsize


def test_a_killed_process_leaves_whole_pages(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for start in range(0, 2000, 500):
        process = context.Process(target=_fill, args=(tmp_path, keys(20_000, first=start)))
        process.start()
        time.sleep(0.2)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    seen: list[int] = []
    found = open_store(tmp_path).rows(keys(3000), encoder(keys(3000), seen, page=500))
    np.testing.assert_array_equal(found.vectors_N_d, vectors(keys(3000)))
    np.testing.assert_array_equal(
        open_store(tmp_path).rows(keys(3000), none).vectors_N_d, vectors(keys(3000))
    )


@pytest.mark.parametrize("left", ["vectors only", "half a record"])
def test_what_a_killed_writer_left_is_overwritten(tmp_path: Path, left: str) -> None:
    names = keys(4)
    open_store(tmp_path).rows(names, encoder(names, []))
    file, junk = ("rows.bin", bytes(33)) if left == "vectors only" else ("index.bin", bytes(11))
    with (tmp_path / FINGERPRINT[:16] / file).open("ab") as out:
        out.write(junk)
    seen: list[int] = []
    found = open_store(tmp_path).rows(keys(6), encoder(keys(6), seen))
    np.testing.assert_array_equal(found.vectors_N_d, vectors(keys(6)))
    assert seen == [4, 5]
    np.testing.assert_array_equal(open_store(tmp_path).rows(keys(6), none).vectors_N_d, vectors(keys(6)))


@pytest.mark.parametrize(
    ("file", "damage", "computed"),
    [
        ("rows.bin", lambda content: content[:43] + bytes([content[43] ^ 1]) + content[44:], [2]),
        ("rows.bin", lambda content: content[:-4], [9]),
        ("rows.bin", lambda _: b"", list(range(10))),
        ("index.bin", lambda content: content[:45] + bytes([content[45] ^ 1]) + content[46:], [0]),
        ("index.bin", lambda content: content[:-4], [9]),
        ("index.bin", lambda _: b"", list(range(10))),
        ("index.bin", lambda content: b"something else" + content[14:], list(range(10))),
    ],
)
def test_damage_is_noticed_and_mended(
    tmp_path: Path, file: str, damage: Callable[[bytes], bytes], computed: list[int]
) -> None:
    names = keys(10)
    open_store(tmp_path).rows(names, encoder(names, []))
    path = tmp_path / FINGERPRINT[:16] / file
    path.write_bytes(damage(path.read_bytes()))
    store, seen = open_store(tmp_path), list[int]()
    np.testing.assert_array_equal(store.rows(names, encoder(names, seen)).vectors_N_d, vectors(names))
    assert seen == computed
    np.testing.assert_array_equal(store.rows(names, none).vectors_N_d, vectors(names))
    np.testing.assert_array_equal(open_store(tmp_path).rows(names, none).vectors_N_d, vectors(names))


def test_the_limit_is_told_once_and_the_rest_is_computed_each_time(tmp_path: Path) -> None:
    said: list[str] = []
    names = keys(10)
    store = open_store(tmp_path, said.append, limit=300)
    for _ in range(2):
        seen: list[int] = []
        found = store.rows(names, encoder(names, seen))
        np.testing.assert_array_equal(found.vectors_N_d, vectors(names))
        assert found.cut_N.tolist() == [name == "key7" for name in names]
    assert seen == list(range(3, 10)) or seen == list(range(6, 10))
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.bin")) <= 300
    assert said == [
        "Features of texts reach head.cache_gb = 3e-07; those of further texts are computed each time"
    ]


def test_another_model_s_features_make_room(tmp_path: Path) -> None:
    names = keys(6)
    open_store(tmp_path, fingerprint="f" * 64).rows(names, encoder(names, []))
    mine = open_store(tmp_path, limit=500)
    mine.rows(names, encoder(names, []))
    mine.rows(keys(6, first=6), encoder(keys(6, first=6), []))
    assert [folder.name for folder in tmp_path.iterdir()] == [FINGERPRINT[:16]]


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "c").write_text("a file where the folder belongs")
    store = open_store(tmp_path / "c", said.append)
    for _ in range(2):
        np.testing.assert_array_equal(store.rows(keys(3), encoder(keys(3), [])).vectors_N_d, vectors(keys(3)))
    assert len(said) == 1 and "cannot be written" in said[0]


def test_no_keys_give_no_rows(tmp_path: Path) -> None:
    assert len(open_store(tmp_path).rows([], none).vectors_N_d) == 0


def test_known_texts_are_found_fast(tmp_path: Path) -> None:
    names = keys(20_000)
    open_store(tmp_path, limit=10**9).rows(names, encoder(names, [], page=5000))
    best = min(_seconds(lambda: open_store(tmp_path).rows(names, none)) for _ in range(5))
    assert best < 0.5, f"{best:.2f} s for 20,000 texts"


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def test_equal_texts_have_equal_keys() -> None:
    assert text_key("ham") == text_key("ham") != text_key("spam")
