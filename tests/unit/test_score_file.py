"""Score files are read back as written, however they are cut into shards, and damage is detected."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from star_al.artefacts import score_file
from star_al.artefacts.score_page import OpenAnswers, Page, Scores
from star_al.errors import StoreError
from star_al.types import FloatArray

ROOT = Path(__file__).parents[2]
rng = np.random.default_rng(0)


def log_probs(n: int, samples: int = 3, labels: int = 4, missing: int = 0) -> FloatArray:
    """Return random distributions; the last ``missing`` labels have probability 0."""
    logits = rng.normal(size=(n, samples, labels))
    if missing:
        logits[..., -missing:] = -np.inf
    return np.asarray(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))


def ids(n: int, first: int = 0) -> list[str]:
    return [f"{number:032x}" for number in range(first, first + n)]


def test_a_shard_comes_back(tmp_path: Path) -> None:
    path, written = tmp_path / "s.parquet", log_probs(10, missing=1)
    base, adapted, aleatoric, epistemic = rng.random((4, 10))
    scores = Scores(base, adapted, aleatoric, epistemic, np.arange(10))
    score_file.write_shard(path, ids(10), written, scores)
    item_ids, read = score_file.read_scores(path)
    assert item_ids == tuple(ids(10))
    for name, column in scores._asdict().items():
        np.testing.assert_array_equal(getattr(read, name), column)
    log_probs_N_K_C = score_file.read_predictions([path], [ids(10)[7], ids(10)[2]])
    np.testing.assert_allclose(log_probs_N_K_C, written[[7, 2]], rtol=1e-6)
    assert np.isneginf(log_probs_N_K_C[..., -1]).all()
    assert list(tmp_path.iterdir()) == [path]


def test_signals_count_for_the_size_of_a_row() -> None:
    signals = {"p(a)": np.zeros(2), "p(b)": np.zeros(2)}
    page = Page(
        tuple(ids(2)),
        log_probs(2, 1, 2).astype(np.float32),
        Scores(),
        OpenAnswers.written([["a", None]] * 2, signals),
    )
    without = page._replace(opened=OpenAnswers.written([["a", None]] * 2, {}))
    assert (page.bytes_N - without.bytes_N).tolist() == [16, 16]


def test_uncertainties_that_were_not_computed_are_none(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    score_file.write_shard(path, ids(2), log_probs(2), Scores(adapted_uncertainty=np.array([0.1, 0.2])))
    _, scores = score_file.read_scores(path)
    assert scores.adapted_uncertainty is not None
    assert scores._replace(adapted_uncertainty=None) == Scores()


def test_merged_bytes_do_not_depend_on_the_cuts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_file, "GROUP_BYTES", 4 * 12 * 64)  # 64 rows a group, so that there are several
    written, base, adapted = log_probs(500), rng.random(500), rng.random(500)
    hashes = set()
    for size in (500, 100, 7, 64):
        shards = []
        for start in range(0, 500, size):
            rows = slice(start, start + size)
            shards.append(tmp_path / f"{size}-{start}.parquet")
            scores = Scores(base[rows], adapted[rows])
            score_file.write_shard(shards[-1], ids(500)[rows], written[rows], scores)
        (tmp_path / "scores").mkdir(exist_ok=True)
        hashes.add(score_file.concatenate([shards], tmp_path / "scores"))
    [sha256] = hashes
    [merged] = (tmp_path / "scores").iterdir()
    assert merged.name == f"{sha256}.parquet"
    assert subprocess.run(["sha256sum", merged], capture_output=True, text=True).stdout.split()[0] == sha256
    item_ids, scores = score_file.read_scores(merged)
    assert item_ids == tuple(ids(500))
    np.testing.assert_array_equal(scores.base_uncertainty, base)
    parts = list(score_file.iter_predictions(merged))
    assert [len(part_ids) for part_ids, _ in parts] == [64] * 7 + [52]
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), written, rtol=1e-6)


def test_shards_with_fewer_labels_are_padded(tmp_path: Path) -> None:
    narrow, wide = log_probs(3, labels=2), log_probs(3, labels=5)
    shards = [tmp_path / "narrow.parquet", tmp_path / "wide.parquet"]
    score_file.write_shard(shards[0], ids(3), narrow, Scores(rng.random(3)))
    score_file.write_shard(shards[1], ids(3, 3), wide, Scores(rng.random(3)))
    sha256 = score_file.concatenate([shards], tmp_path)
    read = score_file.read_predictions([tmp_path / f"{sha256}.parquet"], ids(6))
    np.testing.assert_allclose(read[:3, :, :2], narrow, rtol=1e-6)
    assert np.isneginf(read[:3, :, 2:]).all()
    np.testing.assert_allclose(read[3:], wide, rtol=1e-6)


@pytest.mark.parametrize("group_rows", [4, 1000])
def test_later_stages_take_the_places_of_earlier_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_rows: int
) -> None:
    monkeypatch.setattr(score_file, "GROUP_BYTES", 4 * 12 * group_rows)
    whole, n = log_probs(20, samples=4, labels=3), 20
    samples_N = np.ones(n, dtype=int)

    def shards(name: str, item_ids: list[str], samples: int, size: int) -> list[Path]:
        paths = []
        for start in range(0, len(item_ids), size):
            rows = [int(item_id, 16) for item_id in item_ids[start : start + size]]
            samples_N[rows] = samples
            paths.append(tmp_path / f"{name}-{start}.parquet")
            counts = Scores(samples=np.full(len(rows), samples))
            score_file.write_shard(paths[-1], [ids(n)[row] for row in rows], whole[rows, :samples], counts)
        return paths

    second, third = [ids(n)[row] for row in (0, 3, 6, 7, 8, 19)], [ids(n)[row] for row in (3, 19)]
    stages = [shards("a", ids(n), 1, 7), shards("b", second, 2, 4), shards("c", third, 4, 9)]
    merged = tmp_path / f"{score_file.concatenate(stages, tmp_path)}.parquet"
    item_ids, scores = score_file.read_scores(merged)
    assert item_ids == tuple(ids(n))
    np.testing.assert_array_equal(scores.samples, samples_N)
    read = score_file.read_predictions([merged], ids(n))
    drawn_N_K = np.arange(4) < samples_N[:, None]
    np.testing.assert_allclose(read[drawn_N_K], whole[drawn_N_K], rtol=1e-6)
    assert np.isnan(read[~drawn_N_K]).all()


def test_shards_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    one, two, three = (tmp_path / f"{name}.parquet" for name in ("one", "two", "three"))
    score_file.write_shard(one, ids(2), log_probs(2, samples=3))
    score_file.write_shard(two, ids(2, 2), log_probs(2, samples=1))
    score_file.write_shard(three, ids(2, 2), log_probs(2, samples=3), Scores(np.array([0.1, 0.2])))
    later = [[one], [three]], [[one], [two]]  # other columns; items that the first stage does not have
    refused: list[list[list[Path]]] = [[[one, two]], [[one, three]], [[three, one]], [], [[]], *later]
    for stages in refused:
        with pytest.raises(StoreError):
            score_file.concatenate(stages, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([one, two, three])


def test_every_damage_is_recognised(tmp_path: Path) -> None:
    path, damaged = tmp_path / "s.parquet", tmp_path / "d.parquet"
    score_file.write_shard(path, ids(50), log_probs(50), Scores(*rng.random((2, 50))))
    assert score_file.is_whole(path)
    assert score_file.is_whole(path, ids(50))
    assert not score_file.is_whole(path, ids(49))
    assert not score_file.is_whole(path, ids(50)[::-1])
    assert not score_file.is_whole(damaged)
    whole = path.read_bytes()
    for length in (0, 3, 100, len(whole) - 1):
        damaged.write_bytes(whole[:length])
        assert not score_file.is_whole(damaged), length
        with pytest.raises(StoreError, match=r"d\.parquet: the score file cannot be read"):
            score_file.read_scores(damaged)
    flipped = bytearray(whole)
    flipped[len(whole) // 4] ^= 0xFF  # within the log-probabilities
    damaged.write_bytes(flipped)
    assert not score_file.is_whole(damaged)
    with pytest.raises(StoreError):
        score_file.concatenate([[damaged]], tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([path, damaged])


def test_a_parquet_file_of_something_else_is_no_score_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"item_id": ["a"]}), tmp_path / "other.parquet")
    assert not score_file.is_whole(tmp_path / "other.parquet")
    with pytest.raises(StoreError):
        score_file.read_predictions([tmp_path / "other.parquet"], ["a"])


def test_an_item_without_scores_is_named(tmp_path: Path) -> None:
    score_file.write_shard(tmp_path / "s.parquet", ["a"], log_probs(1))
    with pytest.raises(StoreError, match="has no scores of item b"):
        score_file.read_predictions([tmp_path / "s.parquet"], ["a", "b"])


def test_wrong_lengths_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="equal lengths"):
        score_file.write_shard(tmp_path / "s.parquet", ["a"], log_probs(2))
    with pytest.raises(ValueError, match="equal lengths"):
        score_file.write_shard(tmp_path / "s.parquet", ["a"], log_probs(1), Scores(np.zeros(2)))


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    """A limit on the file size stands for the full disk."""
    program = (
        "import resource, signal, sys; from pathlib import Path; import numpy as np\n"
        "from star_al.artefacts import score_file; from star_al.errors import StoreError\n"
        "import pyarrow.parquet\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "probs = np.log(np.random.default_rng(0).dirichlet(np.ones(50), (500, 1)))\n"
        "try: score_file.write_shard(Path(sys.argv[1]), [str(n) for n in range(500)], probs)\n"
        "except StoreError as exc: print(exc)"
    )
    path = tmp_path / "s.parquet"
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{path}: scores cannot be written (" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def opened(n: int) -> OpenAnswers:
    """Answers of different number and length, and a signal."""
    values = [[*(f"“{row}-{column}”" * (row % 5) for column in range(row % 4)), None] for row in range(n)]
    return OpenAnswers.written(values, {"nll": rng.random(n), "p(a b)": rng.random(n)})


def test_open_answers_and_signals_come_back_in_any_order(tmp_path: Path) -> None:
    path, told = tmp_path / "s.parquet", opened(10)
    score_file.write_shard(path, ids(10), log_probs(10), Scores(rng.random(10)), told)
    found = score_file.read_answers([path], [ids(10)[7], ids(10)[2]])
    assert found is not None
    assert found.answers == (("“7-0”" * 2, "“7-1”" * 2, "“7-2”" * 2, None), ("“2-0”" * 2, "“2-1”" * 2, None))
    assert list(found.signals) == ["nll", "p(a b)"]
    np.testing.assert_array_equal(found.signals["nll"], told.signals["nll"][[7, 2]])
    _, scores = score_file.read_scores(path)
    assert scores._replace(base_uncertainty=None) == Scores()
    with pytest.raises(StoreError, match="has no scores of item x"):
        score_file.read_answers([path], ["x"])


def test_merged_bytes_of_open_answers_do_not_depend_on_the_cuts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_file, "GROUP_BYTES", 4000)
    written, told, hashes = log_probs(200), opened(200), set()
    for size in (200, 60, 7):
        shards = []
        for start in range(0, 200, size):
            rows = slice(start, start + size)
            shards.append(tmp_path / f"{size}-{start}.parquet")
            score_file.write_shard(shards[-1], ids(200)[rows], written[rows], None, told.rows(rows))
        hashes.add(score_file.concatenate([shards], tmp_path / "scores"))
    assert len(hashes) == 1
    [merged] = (tmp_path / "scores").iterdir()
    without_answers = -(-200 * 48 // 4000)
    assert len(list(score_file.iter_predictions(merged))) > without_answers
    assert score_file.read_answers([merged], ids(200)).values_N == told.values_N  # type: ignore[union-attr]


def test_a_closed_task_has_no_columns_for_open_answers(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    score_file.write_shard(path, ids(3), log_probs(3), Scores(rng.random(3)))
    assert pq.read_schema(path).names == ["item_id", "log_probs", "base_uncertainty"]
    assert score_file.read_answers([path], ids(3)) is None


def test_the_bytes_of_a_closed_tasks_file_are_those_of_earlier_versions(tmp_path: Path) -> None:
    written, base = log_probs(40), rng.random(40)
    shard, reference = tmp_path / "shard.parquet", tmp_path / "reference.parquet"
    score_file.write_shard(shard, ids(40), written, Scores(base, samples=np.full(40, 3)))
    sha256 = score_file.concatenate([[shard]], tmp_path)
    table = pa.table(
        {
            "item_id": pa.array(ids(40), pa.string()),
            "log_probs": pa.FixedSizeListArray.from_arrays(pa.array(written.astype(np.float32).ravel()), 12),
            "base_uncertainty": pa.array(base),
            "samples": pa.array([3] * 40, pa.int64()),
        },
        metadata={"samples": "3", "labels": "4"},
    )
    options = {"compression": "zstd", "use_dictionary": False, "write_page_checksum": True}
    pq.write_table(table, reference, row_group_size=40, **options)
    assert hashlib.sha256(reference.read_bytes()).hexdigest() == sha256
