from __future__ import annotations

import numpy as np
import pytest

from star_al.models import key_index
from star_al.models.key_index import KeyIndex


@pytest.mark.parametrize(
    "small", [0, 50, 1000], ids=["sorted at once", "sorted now and then", "never sorted"]
)
def test_finds_what_a_dict_finds(monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    monkeypatch.setattr(key_index, "_SMALL", small)
    random = np.random.default_rng(0)
    halves = random.integers(0, 2**63, size=(400, 2), dtype=np.uint64)
    halves[:60, 0] = random.integers(0, 5, size=60)  # many first halves that are the same
    halves[7] = 0  # ends in zeros, which a NumPy string would lose
    all_keys = halves.reshape(-1).view("V16")
    index, known = KeyIndex(), dict[bytes, int]()
    for n in (0, 1, 30, 31, 200, 400):
        known.update(zip(all_keys[len(index) : n].tolist(), range(len(index), n), strict=True))
        index.extend(all_keys[:n])
        wanted = random.permutation(all_keys).tolist()
        assert index.rows(wanted, all_keys[:n]).tolist() == [known.get(key, -1) for key in wanted]
    assert len(index) == 400
    assert index.rows([], all_keys).tolist() == []
