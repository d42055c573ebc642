"""`star-al init` says who will answer and which commands come next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

StarAl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "d.csv"
    path.write_text("text,y\n" + "".join(f"t{n},{'ab'[n % 2]}\n" for n in range(20)))
    return path


def test_people_need_a_server_first(star_al: StarAl, data: Path) -> None:
    data.write_text("text\n" + "".join(f"t{n}\n" for n in range(20)))
    code, out, err = star_al("init", data.name, "--labels", "a,b")
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == (
        "Wrote star-al.schema.json next to it, the JSON schema with which editors check the file."
    )
    assert out.splitlines()[2:] == [
        "Read d.csv: cells separated by commas, encoding UTF-8.",
        "Texts: column 'text'.",
        "Labels: a, b.",
        "Questions: 6 texts to measure the model, then batches of 25. The budget of 20 labels "
        "(stopping.max_labels) covers every text.",
        "People label in Label Studio: on this machine, or on the server that annotator.url names.",
        "Read the file, change what you like, then: star-al up",
        "                                      and: star-al doctor campaign.yaml",
        "                                      and: star-al run campaign.yaml",
    ]


def test_a_rehearsal_says_how_to_switch(star_al: StarAl, data: Path) -> None:
    _, out, _ = star_al("init", data.name, "--label-column", "y")
    assert "This is a rehearsal: answers come from column 'y'. To have people label, use --annotator" in out
    assert "star-al up" not in out
    code, out, err = star_al(
        "init", data.name, "--label-column", "y", "--force", "--annotator", "label_studio"
    )
    assert code == 0
    assert "column 'y' labels every row. It is not used" in err
    assert "star-al up" in out


def test_an_oracle_needs_every_answer(star_al: StarAl, data: Path) -> None:
    data.write_text("text,y\nt,a\nu,b\nv,\n")
    code, _, err = star_al("init", data.name, "--label-column", "y", "--annotator", "oracle")
    assert code == 2
    assert "a rehearsal needs a column with a label in every row, and column 'y' has gaps" in err
