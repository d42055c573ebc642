"""A campaign on a real Ray cluster: what it finds is what one process finds, whoever is killed meanwhile."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from star_al.app import predicting, running
from star_al.app.predicting import predict_file
from star_al.app.simulating import SimulationRequest, simulate
from star_al.app.stores import open_if_started, open_store
from star_al.app.study_on_cluster import cluster_for_runs, run_on_cluster
from star_al.common.process_identity import ProcessIdentity
from star_al.compute.driver_process import Begin, DriverProcess, Finished, Submit
from star_al.compute.tasks import Order, Task
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile, RayComputeSpec
from star_al.errors import ClusterError, DataError
from star_al.steps import base_predictions, embeddings, score_shards
from support import controller
from support.campaigns import make_rows, write_campaign, write_jsonl
from support.cluster import VICTIMS, Cluster, ray_cluster
from support.databases import migrated_url
from support.kill_at import use_numpy_learner
from support.quiet import Quiet
from support.tiny_model import build_tiny_model

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'star-al[ray]'"
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_cluster() as found:
        yield found


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (score_shards, base_predictions, embeddings):
        monkeypatch.setattr(module, "SHARD_ITEMS", 16)
    monkeypatch.setattr(predicting, "PAGE_ITEMS", 16)
    monkeypatch.setattr(predicting, "ENCODER_PAGE_ITEMS", 16)


def campaign(folder: Path, **changes: Any) -> CampaignFile:
    settings: dict[str, Any] = {
        "posterior": {"kind": "mc_dropout", "samples": 4},
        "stopping__max_rounds": 2,
        "acquisition": {"batch_size": 4, "preset": "star"},
    }
    return load_campaign(write_campaign(folder, **{**settings, **changes}))


def on(cluster: Cluster) -> dict[str, Any]:
    return {"kind": "ray", "address": cluster.address, "workers": 2, "wait_seconds": 60}


def found(file: CampaignFile, name: str | None = None) -> list[tuple[str | None, str | None, list[str]]]:
    """Of each round of the file's campaign, or of another: the hashes of adapter and scores, and the batch."""
    store = open_store(file)
    try:
        stored = store.find_campaign(name or file.spec.name)
        assert stored is not None
        queries = store.queries(stored.campaign_id)
        return [
            (
                round_.adapter_sha256,
                round_.scores_sha256,
                [query.item_id for query in queries if query.round_index == round_.index],
            )
            for round_ in store.rounds(stored.campaign_id)
        ]
    finally:
        store.close()


def run(file: CampaignFile) -> list[str]:
    progress = Quiet()
    running.run(file, progress)
    return progress.said


@pytest.fixture
def numpy_learner(monkeypatch: pytest.MonkeyPatch) -> None:
    """The NumPy learner, on the workers too."""
    use_numpy_learner(monkeypatch.setattr)
    monkeypatch.setenv("PYTHONPATH", controller.environment()["PYTHONPATH"])


@pytest.fixture
def here(tmp_path: Path, numpy_learner: None) -> list[Any]:
    """What a run in one process finds."""
    file = campaign(tmp_path / "here")
    run(file)
    return found(file)


def test_workers_find_what_one_process_finds_though_one_is_killed(
    tmp_path: Path, cluster: Cluster, numpy_learner: None, small_shards: None
) -> None:
    file = campaign(tmp_path / "ray", compute=on(cluster))
    (file.path.parent / VICTIMS).write_text("self")
    said = run(file)
    again = campaign(tmp_path / "again")
    run(again)
    assert found(file) == found(again) and len(found(file)) == 3
    assert [line for line in said if "A worker was lost" in line] != []
    assert not (file.path.parent / VICTIMS).exists()
    texts = write_jsonl(tmp_path / "texts.jsonl", make_rows(40, seed=9))
    outs = [tmp_path / "ray.jsonl", tmp_path / "here.jsonl"]
    for each, out in zip((file, again), outs, strict=True):
        predict_file(each, texts, out, Quiet())
    assert outs[0].read_text() == outs[1].read_text()
    assert list((file.artefact_folder / ".work").rglob("*.npz")) == []


def test_a_controller_that_is_killed_goes_on_with_what_workers_found(
    tmp_path: Path, cluster: Cluster, here: list[Any]
) -> None:
    file = campaign(tmp_path / "ray", compute=on(cluster), database__lease_seconds=1.0)
    process = controller.start("run", str(file.path))
    (file.path.parent / VICTIMS).write_text(str(process.pid))
    assert process.wait(120) == -9, process.communicate()
    done = controller.run("run", str(file.path))
    assert done.returncode == 0, done.stderr
    assert found(file) == here


def test_a_head_that_is_killed_and_started_again_is_found_again(
    tmp_path: Path, cluster: Cluster, here: list[Any]
) -> None:
    file = campaign(tmp_path / "ray", compute=on(cluster))
    (file.path.parent / VICTIMS).write_text(" ".join(map(str, cluster.processes)))
    process = controller.start("run", str(file.path))
    cluster.wait_for_end()
    cluster.restart()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert found(file) == here


def test_a_cluster_that_stays_away_ends_the_run_with_one_message(tmp_path: Path, here: list[Any]) -> None:
    compute = {"kind": "ray", "address": "127.0.0.1:1", "wait_seconds": 0}
    file = campaign(tmp_path / "ray", compute=compute)
    with pytest.raises(
        ClusterError, match=r"at 127\.0\.0\.1:1 has not answered .* what was computed is kept"
    ):
        run(file)
    file = campaign(tmp_path / "ray")
    run(file)
    assert found(file) == here


def test_servers_that_a_run_starts_listen_on_this_machine_alone(tmp_path: Path) -> None:
    driver = DriverProcess(Begin(RayComputeSpec(kind="ray", workers=1), str(tmp_path), "1"))
    try:
        driver.submit(Submit("k", Task("embed", None, ()), Order("no.module:here", "", {}, {}, "")))
        message = None
        while message is None:
            message = driver.receive(1.0)
        assert isinstance(message, Finished) and "internal error on a worker" in str(message.outcome)
        listening = {
            connection.laddr.ip
            for process in psutil.Process(driver._process.pid).children(recursive=True)
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening and listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    finally:
        driver.end()


@pytest.mark.slow
def test_a_language_model_predicts_the_same_on_workers(tmp_path: Path, cluster: Cluster) -> None:
    both = (("here", {"kind": "local"}), ("ray", on(cluster)))
    files = [campaign(tmp_path / name, compute=compute, stopping__max_rounds=1) for name, compute in both]
    for file in files:
        build_tiny_model(file.path.parent / "model")
        run(file)
    assert found(files[0]) == found(files[1])


@pytest.mark.slow
def test_members_of_an_ensemble_are_trained_on_workers(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from star_al.models.posterior.ensemble import Ensemble

    both = (("here", {"kind": "local"}), ("ray", on(cluster)))
    settings: dict[str, Any] = {"posterior": {"kind": "ensemble", "members": 2}, "stopping__max_rounds": 2}
    files = [campaign(tmp_path / name, compute=compute, **settings) for name, compute in both]
    trained: list[int] = []
    fit_member = Ensemble.fit_member

    def counted(self: Ensemble, training: Any, member: int, place: Path) -> None:
        trained.append(member)
        fit_member(self, training, member, place)

    monkeypatch.setattr(Ensemble, "fit_member", counted)
    for file in files:
        build_tiny_model(file.path.parent / "model")
        run(file)
    assert found(files[0]) == found(files[1])
    # Both try the model out with one member; the others of the second campaign were trained by its workers.
    rounds = sum(adapter is not None for adapter, _, _ in found(files[0]))
    assert rounds == 2 and len(trained) == 2 * rounds + 2


@pytest.mark.slow
@pytest.mark.postgres
def test_runs_of_a_study_go_to_the_workers_though_one_is_killed(tmp_path: Path, cluster: Cluster) -> None:
    model = build_tiny_model(tmp_path / "model")
    settings: dict[str, Any] = {
        "model__name": str(model),
        "stopping__max_rounds": 1,
        "evaluation__stop_set": 0,
    }
    study = SimulationRequest(("random", "entropy"), seeds=1, jobs=2)
    results = []
    for name, compute in (("here", {"kind": "local"}), ("ray", on(cluster))):
        url = migrated_url("postgres", tmp_path)
        file = campaign(tmp_path / name, compute=compute, database__url=url, **settings)
        killer = threading.Thread(target=_kill_the_first_run, args=(file,), daemon=True)
        if name == "ray":
            killer.start()
        progress = Quiet()
        done = simulate(file, study, progress)
        assert done.failed == ()
        names = [f"small.{strategy}.0" for strategy in study.strategies]
        results.append([found(file, name) for name in names])
    killer.join()
    assert results[0] == results[1] and all(len(rounds) == 2 for rounds in results[0])
    assert any("A worker was lost while it ran small.random.0" in line for line in progress.said)
    assert not file.resolve("small-study").exists()


@pytest.mark.postgres
def test_an_error_of_a_run_on_a_worker_is_told(tmp_path: Path, cluster: Cluster) -> None:
    url = migrated_url("postgres", tmp_path)
    file = campaign(tmp_path, compute=on(cluster), database__url=url, data__path="gone.jsonl")
    settings = cluster_for_runs(file)
    assert settings is not None and settings == file.spec.compute
    (told,) = run_on_cluster(settings, {"one": file}, tmp_path, Quiet(), lambda _: None, lambda _: None)
    assert told[0] == "one" and type(told[1].error) is DataError and "gone.jsonl" in str(told[1].error)


def _kill_the_first_run(file: CampaignFile) -> None:
    """Kill the worker of the study's first run as soon as it has trained, in the middle of the run."""
    while True:
        time.sleep(0.05)
        with open_if_started(file) as store:
            run = None if store is None else store.find_campaign("small.random.0")
            if store is not None and run is not None and store.rounds(run.campaign_id):
                owner = ProcessIdentity.parse(store.lease_owner(run.campaign_id) or "")
                assert owner is not None
                os.kill(owner.pid, signal.SIGKILL)
                return
