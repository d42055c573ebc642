from __future__ import annotations

import math
from pathlib import Path

from star_al.app.kept_predictions import KeptPredictions
from star_al.data import ModelAnswer
from star_al.types import Item

ITEMS = [Item("a", "one"), Item("b", "two")]
ANSWERS = [
    ModelAnswer("sport", (0.1 + 0.2, 1 / 3), 0.5),
    ModelAnswer(["x"], (0.5, 0.25, 0.25), math.nan, 0.1, None, (["x"], "y", None), {"p(x)": 1e-300}),
]


def test_pages_come_back_as_they_were(tmp_path: Path) -> None:
    kept = KeptPredictions(tmp_path / "out.csv", "model")
    assert kept.load(ITEMS) is None
    kept.save(ITEMS, ANSWERS)
    assert repr(KeptPredictions(tmp_path / "out.csv", "model").load(ITEMS)) == repr(ANSWERS)  # NaN is not NaN
    for other, items in (("model", ITEMS[::-1]), ("model", ITEMS[:1]), ("another model", ITEMS)):
        assert KeptPredictions(tmp_path / "out.csv", other).load(items) is None
    kept.clear()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_page_is_missing(tmp_path: Path) -> None:
    kept = KeptPredictions(tmp_path / "out.csv", "model")
    kept.save(ITEMS, ANSWERS)
    [page] = kept.folder.iterdir()
    page.write_bytes(page.read_bytes().replace(b"0.5", b"0.6"))
    assert kept.load(ITEMS) is None
