"""`star-al simulate`: a study runs in worker processes, goes on after interruptions, and refuses bad input."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from star_al.app.stores import open_store
from star_al.app.strategies import POSTERIORS, known_strategies
from star_al.config.file import load_campaign
from support import controller
from support.campaigns import write_campaign

StarAl = Callable[..., tuple[int, str, str]]

STRATEGIES = "random,entropy,star"
EVERYWHERE = controller.TESTS / "support" / "everywhere"


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start `star-al simulate` with the NumPy learner, two processes at a time, in a process group of its own."""
    command = [sys.executable, "-m", "star_al.cli.main", "simulate", str(folder / "campaign.yaml")]
    command += ["--strategies", STRATEGIES, "--jobs", "2", "--out", str(folder / "out.json"), *options]
    environment = controller.environment(OMP_NUM_THREADS="1")
    environment["PYTHONPATH"] = os.pathsep.join([str(EVERYWHERE), environment["PYTHONPATH"]])
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def simulate(folder: Path, *options: str) -> tuple[int, str, str]:
    process = start(folder, *options)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read stderr up to the line that holds ``text``, and return that line."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"{text!r} was never said")


def figures(folder: Path) -> dict[str, Any]:
    """Everything the study wrote, except times."""

    def without_seconds(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: without_seconds(value) for key, value in tree.items() if key != "seconds"}
        return [without_seconds(each) for each in tree] if isinstance(tree, list) else tree

    found: dict[str, Any] = without_seconds(json.loads((folder / "out.json").read_text()))
    return found


def runs_of_seed_0(folder: Path) -> list[dict[str, Any]]:
    """The runs of the first seed, which do not depend on further seeds."""
    return [run for run in figures(folder)["runs"] if run["seed"] == 0]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study that was never interrupted."""
    folder = tmp_path_factory.mktemp("simulate") / "unbroken"
    write_campaign(folder, stopping__max_rounds=2)
    code, out, err = simulate(folder, "--seeds", "2")
    assert code == 0, err
    (folder / "stdout").write_text(out)
    (folder / "stderr").write_text(err)
    return folder


def test_a_study_compares_strategies_and_says_what_it_shows(unbroken: Path) -> None:
    out, err = (unbroken / "stdout").read_text(), (unbroken / "stderr").read_text()
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert {"random", "entropy", "star"} <= rows.keys()
    assert "Fewer than 5 seeds" in out and "2 strategies are compared" in out
    assert f"star-al report {unbroken / 'campaign.yaml'} --study small" in out
    assert "Study small: 6 runs" in err and "2 at a time" in err
    assert err.count("labels (") == 6  # a line for each run that ended
    found = figures(unbroken)
    assert [each["strategy"] for each in found["strategies"]] == ["random", "entropy", "star"]
    assert all(run["finished"] and run["labels_R"] == [14, 18, 22] for run in found["runs"])


def test_runs_are_campaigns_that_share_held_out_items_and_their_first_batch(unbroken: Path) -> None:
    store = open_store(load_campaign(unbroken / "campaign.yaml"))
    try:
        study = store.study("small")
        assert study is not None
        assert [run.campaign for run in study.runs if run.seed == 0] == [
            "small.entropy.0",
            "small.random.0",
            "small.star.0",
        ]
        asked: dict[tuple[int, int], set[tuple[str, ...]]] = {}
        for run in study.runs:
            campaign = store.find_campaign(run.campaign)
            assert campaign is not None
            for round_index in (0, 1):
                queries = store.queries(campaign.campaign_id, round_index)
                batch = tuple(sorted(query.item_id for query in queries))
                asked.setdefault((run.seed, round_index), set()).add(batch)
        assert len(asked[0, 0]) == len(asked[1, 0]) == 1 and asked[0, 0] != asked[1, 0]
        assert len(asked[0, 1]) > 1  # later batches are each strategy's own
    finally:
        store.close()


def test_nothing_but_the_database_is_left(unbroken: Path) -> None:
    left = {path.name.removesuffix("-wal").removesuffix("-shm") for path in unbroken.iterdir()}
    assert left == {"campaign.yaml", "pool.jsonl", "small.db", "out.json", "stdout", "stderr"}


def test_a_killed_study_goes_on_and_gives_the_same_figures(unbroken: Path, tmp_path: Path) -> None:
    write_campaign(tmp_path, stopping__max_rounds=2)
    process = start(tmp_path, "--seeds", "1")
    wait_for(process, "2 runs left")
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()  # only the program: its workers notice by themselves
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert children and not alive
    code, _, err = simulate(tmp_path, "--seeds", "1")
    assert code == 0, err
    assert "already finished" in err
    assert runs_of_seed_0(tmp_path) == runs_of_seed_0(unbroken)


def test_ctrl_c_ends_the_runs_and_says_how_to_go_on(unbroken: Path, tmp_path: Path) -> None:
    config = write_campaign(tmp_path, stopping__max_rounds=2)
    process = start(tmp_path, "--seeds", "1")
    wait_for(process, "2 at a time")
    time.sleep(0.5)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    last = err.splitlines()[-1]
    assert f"Continue with: star-al simulate {config} --strategies {STRATEGIES} --seeds 1" in last
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert simulate(tmp_path, "--seeds", "1")[0] == 0
    assert runs_of_seed_0(tmp_path) == runs_of_seed_0(unbroken)


def test_ctrl_c_counts_while_the_first_process_comes_up(tmp_path: Path) -> None:
    write_campaign(tmp_path, stopping__max_rounds=2)
    process = start(tmp_path, "--seeds", "2")
    wait_for(process, "Study small")
    time.sleep(1.0)  # into the imports
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err


def test_seeds_may_be_added_and_finished_ones_stay(unbroken: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(unbroken, own)
    before = {(run["strategy"], run["seed"]): run for run in figures(own)["runs"]}
    notes = own / "small-study" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("the user's own")
    code, _, err = simulate(own, "--seeds", "3")
    assert code == 0, err
    assert list(notes.parent.iterdir()) == [notes]  # what the runs made is gone, and nothing else
    assert "9 runs, 6 already finished" in err
    after = {(run["strategy"], run["seed"]): run for run in figures(own)["runs"]}
    assert len(after) == 9 and before.items() <= after.items()


def test_a_run_that_fails_is_reported_and_the_others_go_on(star_al: StarAl, tmp_path: Path) -> None:
    write_campaign(tmp_path, stopping__max_rounds=1)
    assert simulate(tmp_path, "--seeds", "1", "--strategies", "random")[0] == 0
    url = "sqlite:///../small.db"
    other = write_campaign(tmp_path / "other", name="small.star.0", seed=1, database__url=url)
    run = controller.run("run", str(other), "--max-rounds", "1")
    assert run.returncode == 0, run.stderr  # a campaign of that name, with other settings
    code, out, err = simulate(tmp_path, "--seeds", "1")
    assert code == 2
    assert "star, seed 0, failed" in err and "was started with different settings for" in err
    assert "entropy" in out and "1 run failed" in err


@pytest.mark.slow
def test_runs_of_a_real_model_share_dtype_base_predictions_and_frozen_blocks(
    star_al: StarAl, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    changes = {"model__name": str(model), "model__dtype": "auto", "adapter__layers": 1}
    config = write_campaign(tmp_path, n=40, stopping__max_rounds=1, **changes)
    options = ("--strategies", "random,star@laplace", "--seeds", 2, "--jobs", 2)
    code, _, err = star_al("simulate", config, *options, "--keep")
    assert code == 0, err
    store = open_store(load_campaign(config))
    try:
        study = store.study("small")
        assert study is not None
        campaigns = [store.find_campaign(run.campaign) for run in study.runs]
        dtypes = {each.config["model"]["dtype"] for each in campaigns if each is not None}  # type: ignore[index, call-overload]
        rounds = [store.rounds(each.campaign_id) for each in campaigns if each is not None]
        assert len(dtypes) == 1 and dtypes <= {"bfloat16", "float32"}
        fits = [each[-1].fit for each in rounds]
        assert len({fit and str(fit.versions["base_key"]) for fit in fits}) == 1
    finally:
        store.close()
    folder = tmp_path / "small-study"
    assert len(list((folder / "trunk").iterdir())) == 1  # one key for all: the blocks are computed once
    assert len(list((folder / "trunk").glob("*/*.bin"))) <= 40
    assert len(list(folder.glob("small.*/adapters/*"))) == 4 and not list(folder.glob("small.*/trunk"))
    assert star_al("simulate", config, *options)[0] == 0
    assert not folder.exists()


# -- posteriors -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_two_posteriors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study of two strategies with two posteriors each."""
    folder = tmp_path_factory.mktemp("simulate") / "posteriors"
    write_campaign(folder, stopping__max_rounds=2)
    options = ("--strategies", "random,entropy", "--posteriors", "mc_dropout,map", "--seeds", "2")
    code, out, err = simulate(folder, *options)
    assert code == 0, err
    (folder / "stdout").write_text(out)
    return folder


def test_posteriors_are_compared_on_the_same_texts(of_two_posteriors: Path) -> None:
    store = open_store(load_campaign(of_two_posteriors / "campaign.yaml"))
    try:
        asked: dict[str, set[tuple[str, ...]]] = {}
        kinds = set()
        for run in store.study("small").runs:  # type: ignore[union-attr]
            campaign = store.find_campaign(run.campaign)
            assert (
                campaign is not None and run.campaign == f"small.{run.strategy.replace('@', '-')}.{run.seed}"
            )
            kinds.add((run.strategy, campaign.config["posterior"]["kind"]))  # type: ignore[index, call-overload]
            texts = tuple(query.item_id for query in store.queries(campaign.campaign_id))
            asked.setdefault(f"{run.strategy.split('@')[0]} {run.seed}", set()).add(texts)
        assert kinds == {
            (f"{name}@{kind}", kind) for name in ("random", "entropy") for kind in ("map", "mc_dropout")
        }
        assert len(asked["random 0"]) == len(asked["random 1"]) == 1
        assert len(asked["entropy 0"]) == len(asked["entropy 1"]) == 2
    finally:
        store.close()


def test_a_study_of_posteriors_says_what_is_compared_with_what(
    star_al: StarAl, of_two_posteriors: Path, tmp_path: Path
) -> None:
    out = (of_two_posteriors / "stdout").read_text()
    against = {each["strategy"]: each["reference"] for each in figures(of_two_posteriors)["strategies"]}
    assert against == {
        "random@map": "random@mc_dropout",
        "random@mc_dropout": None,
        "entropy@map": "random@map",
        "entropy@mc_dropout": "random@mc_dropout",
    }
    lines = {line.split(":")[0]: line for line in out.splitlines() if line.count("@") > 1}
    assert {name: reference in lines[name] for name, reference in against.items() if reference} == {
        "random@map": True,
        "entropy@map": True,
        "entropy@mc_dropout": True,
    }
    page = tmp_path / "report.html"
    config = of_two_posteriors / "campaign.yaml"
    assert star_al("report", config, "--study", "small", "--out", page)[0] == 0
    assert all(name in page.read_text(encoding="utf-8") for name in against)


# -- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "options", "reason"),
    [
        pytest.param(
            {"annotator": {"kind": "label_studio"}},
            [],
            "Name their column with --gold",
            id="people",
        ),
        pytest.param({"evaluation": {"kind": "none"}}, [], "needs held-out labels", id="unmeasured"),
        pytest.param(
            {"stopping": {"target_accuracy": 0.9}}, [], "runs would never stop. Give --rounds", id="endless"
        ),
        pytest.param(
            {}, ["--strategies", "randem"], "no strategy 'randem'; the strategies are random,", id="unknown"
        ),
        pytest.param(
            {},
            ["--posteriors", "map,lapalce"],
            "no posterior 'lapalce'; the posteriors are map,",
            id="posterior",
        ),
        pytest.param(
            {}, ["--strategies", "bald", "--posteriors", "map"], "strategy bald@map: ", id="one sample"
        ),
        pytest.param({}, ["--strategies", "batchbald"], "strategy batchbald: ", id="samples"),
        pytest.param({}, ["--study", "x" * 60], "shorter name with --study", id="long"),
        pytest.param({}, ["--study", "a/b"], "a name may contain only letters", id="odd"),
        pytest.param({}, ["--out", "{folder}/pool.jsonl"], "would be overwritten", id="out"),
        pytest.param({"data__path": "nowhere.jsonl"}, [], "no such file", id="data"),
    ],
)
def test_what_cannot_be_simulated_is_refused_at_once(
    star_al: StarAl, tmp_path: Path, changes: dict[str, Any], options: list[str], reason: str
) -> None:
    config = write_campaign(tmp_path, **changes)
    code, _, err = star_al("simulate", config, *(each.format(folder=tmp_path) for each in options))
    assert code == 2 and reason in err
    assert not list(tmp_path.glob("*.db")) and not list(tmp_path.glob("*-study"))


def test_help_names_every_strategy_and_posterior(star_al: StarAl) -> None:
    words = re.findall(r"\w+", star_al("simulate", "--help")[1])
    assert {*known_strategies(), *POSTERIORS} <= set(words)


def test_a_study_with_other_settings_is_refused(star_al: StarAl, unbroken: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(unbroken, own)
    config = write_campaign(own, stopping__max_rounds=2, adapter__rank=4, acquisition__batch_size=5)
    code, _, err = star_al("simulate", config)
    assert code == 2
    assert "different settings for acquisition.batch_size, adapter.rank" in err and "--study" in err


def test_a_study_of_an_earlier_version_goes_on(star_al: StarAl, unbroken: Path, tmp_path: Path) -> None:
    """It knew no tolerance, no classifier, and sampled by dropout without being asked."""
    own = tmp_path / "own"
    shutil.copytree(unbroken, own)
    config = own / "campaign.yaml"
    config.write_text(re.sub(r"(?m)^posterior:\n(?: .*\n)+", "", config.read_text()))
    (path,) = own.glob("*.db")
    with sqlite3.connect(path) as database:
        ((text,),) = database.execute("SELECT config FROM studies").fetchall()
        stored = json.loads(text)
        del stored["model"]["label_tolerance"], stored["adapter"]["output"]
        stored["posterior"] = {"kind": "mc_dropout", "samples": 3}
        database.execute("UPDATE studies SET config = ?", (json.dumps(stored),))
    code, _, err = star_al("simulate", config, "--strategies", STRATEGIES, "--seeds", 2)
    assert code == 0, err


def test_a_study_that_is_being_run_is_left_alone(star_al: StarAl, tmp_path: Path) -> None:
    config = write_campaign(tmp_path)
    (tmp_path / "small-study").mkdir()
    with FileLock(tmp_path / "small-study" / ".lock"):
        code, _, err = star_al("simulate", config)
    assert code == 3 and "is being run by another process" in err


def test_a_finished_study_is_shown_again_without_a_process(
    star_al: StarAl, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    shutil.copytree(unbroken, own)
    monkeypatch.setattr("star_al.app.missing_runs.WorkerProcesses", None)
    code, out, _ = star_al("simulate", own / "campaign.yaml", "--strategies", STRATEGIES, "--seeds", 2)
    assert code == 0
    table = out.partition("\n\n")[0]
    assert table in (unbroken / "stdout").read_text()
