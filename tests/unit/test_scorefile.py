"""Score files: what is written is read back, however it was cut into shards, and damage is recognised."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from star_al import scorefile
from star_al.errors import StoreError

ROOT = Path(__file__).parents[2]
rng = np.random.default_rng(0)


def log_probs(n: int, samples: int = 3, labels: int = 4, missing: int = 0) -> np.ndarray:
    """Random distributions, the last ``missing`` labels impossible."""
    logits = rng.normal(size=(n, samples, labels))
    if missing:
        logits[..., -missing:] = -np.inf
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def ids(n: int, first: int = 0) -> list[str]:
    return [f"{number:032x}" for number in range(first, first + n)]


def test_a_shard_comes_back(tmp_path: Path) -> None:
    path, written = tmp_path / "s.parquet", log_probs(10, missing=1)
    base, adapted = rng.random(10), rng.random(10)
    scorefile.write_shard(path, ids(10), written, base, adapted)
    item_ids, base_read, adapted_read = scorefile.read_uncertainties(path)
    assert item_ids == tuple(ids(10))
    np.testing.assert_array_equal(base_read, base)
    np.testing.assert_array_equal(adapted_read, adapted)
    wanted = [ids(10)[7], ids(10)[2]]
    predictions = scorefile.read_predictions(path, wanted)
    assert predictions.item_ids == tuple(wanted)
    np.testing.assert_allclose(predictions.log_probs_N_K_C, written[[7, 2]], rtol=1e-6)
    assert np.isneginf(predictions.log_probs_N_K_C[..., -1]).all()
    assert list(tmp_path.iterdir()) == [path]


def test_uncertainties_that_were_not_computed_are_null(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    scorefile.write_shard(path, ids(2), log_probs(2), None, np.array([0.1, 0.2]))
    assert scorefile.read_uncertainties(path)[1] is None
    scorefile.write_shard(path, ids(2), log_probs(2), np.array([0.1, 0.2]), None)
    assert scorefile.read_uncertainties(path)[2] is None


def test_merged_bytes_do_not_depend_on_the_cuts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorefile, "GROUP_BYTES", 4 * 12 * 64)  # 64 rows a group, so that there are several
    written, base, adapted = log_probs(500), rng.random(500), rng.random(500)
    hashes = set()
    for size in (500, 100, 7, 64):
        shards = []
        for start in range(0, 500, size):
            rows = slice(start, start + size)
            shards.append(tmp_path / f"{size}-{start}.parquet")
            scorefile.write_shard(shards[-1], ids(500)[rows], written[rows], base[rows], adapted[rows])
        (tmp_path / "scores").mkdir(exist_ok=True)
        hashes.add(scorefile.concatenate(shards, tmp_path / "scores"))
    [sha256] = hashes
    [merged] = (tmp_path / "scores").iterdir()
    assert merged.name == f"{sha256}.parquet"
    assert subprocess.run(["sha256sum", merged], capture_output=True, text=True).stdout.split()[0] == sha256
    item_ids, base_read, _ = scorefile.read_uncertainties(merged)
    assert item_ids == tuple(ids(500))
    np.testing.assert_array_equal(base_read, base)
    parts = list(scorefile.iter_predictions(merged))
    assert [len(part) for part in parts] == [64] * 7 + [52]
    np.testing.assert_allclose(np.concatenate([p.log_probs_N_K_C for p in parts]), written, rtol=1e-6)


def test_shards_with_fewer_labels_are_padded(tmp_path: Path) -> None:
    narrow, wide = log_probs(3, labels=2), log_probs(3, labels=5)
    shards = [tmp_path / "narrow.parquet", tmp_path / "wide.parquet"]
    scorefile.write_shard(shards[0], ids(3), narrow, rng.random(3))
    scorefile.write_shard(shards[1], ids(3, 3), wide, rng.random(3))
    sha256 = scorefile.concatenate(shards, tmp_path)
    read = scorefile.read_predictions(tmp_path / f"{sha256}.parquet", ids(6)).log_probs_N_K_C
    np.testing.assert_allclose(read[:3, :, :2], narrow, rtol=1e-6)
    assert np.isneginf(read[:3, :, 2:]).all()
    np.testing.assert_allclose(read[3:], wide, rtol=1e-6)


def test_shards_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    one, two, three = (tmp_path / f"{name}.parquet" for name in ("one", "two", "three"))
    scorefile.write_shard(one, ids(2), log_probs(2, samples=3))
    scorefile.write_shard(two, ids(2, 2), log_probs(2, samples=1))
    scorefile.write_shard(three, ids(2, 2), log_probs(2, samples=3), np.array([0.1, 0.2]))
    for shards in ([one, two], [one, three], [three, one], []):
        with pytest.raises(StoreError):
            scorefile.concatenate(shards, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([one, two, three])


def test_every_damage_is_recognised(tmp_path: Path) -> None:
    path, damaged = tmp_path / "s.parquet", tmp_path / "d.parquet"
    scorefile.write_shard(path, ids(50), log_probs(50), rng.random(50), rng.random(50))
    assert scorefile.is_whole(path)
    assert scorefile.is_whole(path, ids(50))
    assert not scorefile.is_whole(path, ids(49))
    assert not scorefile.is_whole(path, ids(50)[::-1])
    assert not scorefile.is_whole(damaged)
    whole = path.read_bytes()
    for length in (0, 3, 100, len(whole) - 1):
        damaged.write_bytes(whole[:length])
        assert not scorefile.is_whole(damaged), length
        with pytest.raises(StoreError, match=r"d\.parquet: the score file cannot be read"):
            scorefile.read_uncertainties(damaged)
    flipped = bytearray(whole)
    flipped[len(whole) // 4] ^= 0xFF  # within the log-probabilities
    damaged.write_bytes(flipped)
    assert not scorefile.is_whole(damaged)
    with pytest.raises(StoreError):
        scorefile.concatenate([damaged], tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([path, damaged])


def test_a_parquet_file_of_something_else_is_no_score_file(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"item_id": ["a"]}), tmp_path / "other.parquet")
    assert not scorefile.is_whole(tmp_path / "other.parquet")
    with pytest.raises(StoreError):
        scorefile.read_predictions(tmp_path / "other.parquet", ["a"])


def test_an_item_without_scores_is_named(tmp_path: Path) -> None:
    scorefile.write_shard(tmp_path / "s.parquet", ["a"], log_probs(1))
    with pytest.raises(StoreError, match="has no scores of item b"):
        scorefile.read_predictions(tmp_path / "s.parquet", ["a", "b"])


def test_wrong_lengths_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="equal lengths"):
        scorefile.write_shard(tmp_path / "s.parquet", ["a"], log_probs(2))
    with pytest.raises(ValueError, match="equal lengths"):
        scorefile.write_shard(tmp_path / "s.parquet", ["a"], log_probs(1), np.zeros(2))


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk."""
    program = (
        "import resource, signal, sys; from pathlib import Path; import numpy as np\n"
        "from star_al import scorefile; from star_al.errors import StoreError\n"
        "import pyarrow.parquet\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "probs = np.log(np.random.default_rng(0).dirichlet(np.ones(50), (500, 1)))\n"
        "try: scorefile.write_shard(Path(sys.argv[1]), [str(n) for n in range(500)], probs)\n"
        "except StoreError as exc: print(exc)"
    )
    path = tmp_path / "s.parquet"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"{path}: scores cannot be written (" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
