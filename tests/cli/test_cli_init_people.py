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


def test_what_is_trained_is_told_and_can_be_decided(star_al: StarAl, data: Path) -> None:
    data.write_text("text,y\n" + "".join(f"t{n},{'ab'[n % 2]}\n" for n in range(20)))
    _, out, _ = star_al("init", data.name, "--label-column", "y")
    assert "LoRA is trained every round: with SmolLM2-135M-Instruct, a round takes about 20 seconds" in out
    code, out, _ = star_al("init", data.name, "--label-column", "y", "--learner", "head", "--force")
    assert code == 0 and "LoRA" not in out
    written = (data.parent / "campaign.yaml").read_text()
    assert "kind: head  # A head: a linear model" in written and "model:" not in written
    code, _, err = star_al("init", data.name, "--label-column", "y", "--learner", "heads")
    assert code == 2 and "heads" in err


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
        "LoRA is trained every round: with SmolLM2-135M-Instruct, a round takes about 20 seconds on this machine "
        "(estimated).",
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


@pytest.mark.parametrize("given", ["@labels.txt", "labels.txt", 'good,"so, so"'])
def test_labels_come_from_a_file_or_hold_commas(star_al: StarAl, data: Path, given: str) -> None:
    (data.parent / "labels.txt").write_text("good\n\n so, so \n")
    code, out, err = star_al("init", data.name, "--labels", given)
    assert (code, err) == (0, "")
    assert "Labels: good, so, so." in out
    assert "labels: [good, 'so, so']" in (data.parent / "campaign.yaml").read_text()


def test_a_file_of_labels_that_is_missing_is_named(star_al: StarAl, data: Path) -> None:
    code, _, err = star_al("init", data.name, "--labels", "@absent.txt")
    assert code == 2
    assert (
        "--labels: absent.txt cannot be read (No such file or directory). It needs one label a line." in err
    )


def test_what_was_found_in_the_file_is_said(star_al: StarAl, data: Path) -> None:
    data.write_bytes("Nr;Text ;notes\n1;Größe;x\n1;klein;y\n".encode("cp1252"))
    code, out, err = star_al("init", data.name, "--labels", "a,b", "--id-column", "Nr")
    assert code == 0
    assert "Read d.csv: cells separated by semicolons, encoding Windows-1252." in out
    assert "Texts: column 'Text '. Other columns: notes." in out
    assert err == "d.csv: 1 id stands for several texts (column 'Nr'); join labels back by `item_id`.\n"
    code, _, err = star_al("init", data.name, "--label-column", "text", "--force")
    assert code == 2
    assert "there is no column 'text'. Did you mean 'Text '?" in err


def test_a_terminal_is_asked(data: Path) -> None:
    import os
    import pty
    import subprocess
    import sys

    data.write_text(
        "title,body,y\n" + "".join(f"a title of some length {n},b{n},{'ab'[n % 2]}\n" for n in range(8))
    )
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "star_al", "init", data.name]
    process = subprocess.Popen(
        command, stdin=child, stdout=child, stderr=child, cwd=data.parent, env=os.environ
    )
    os.close(child)
    os.write(parent, b"9\n2\n1\n" + b"\n" * 4)  # a head, which a slow machine gets, asks what the names mean
    shown = b""
    try:
        while block := os.read(parent, 4096):
            shown += block
    except OSError:  # the child's end is closed
        pass
    os.close(parent)
    assert process.wait(60) == 0, shown
    assert b"Which column holds the texts?" in shown and b"Type a number from 1 to 2." in shown
    assert b"title (24 characters on average)" in shown and b"(2 values: a, b)" in shown
    assert b"Labels: a, b (column 'y')." in shown and b"Texts: column 'title'." in shown
    assert b"with SmolLM2-135M-Instruct, a round " in shown and b" on this machine (estimated)." in shown
