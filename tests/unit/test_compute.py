"""Calls of a learner that go to workers: what comes back is what the learner answers, whatever is lost meanwhile."""

from __future__ import annotations

import json
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from star_al.app import computing, running, study_on_cluster
from star_al.app.stores import reading
from star_al.app.strategies import run_file, study_spec
from star_al.artefacts.folder import ArtefactFolder
from star_al.artefacts.shared_files import SharedFiles
from star_al.compute import on_ray
from star_al.compute.driver_process import Begin, Ended, Finished, Message, Say, Submit
from star_al.compute.on_ray import RayCompute
from star_al.compute.results import ResultFiles
from star_al.compute.tasks import AnyTask, Order, Task
from star_al.compute.worker import Done, Worker
from star_al.config.file import load_campaign
from star_al.config.spec import CampaignFile, CampaignSpec, RayComputeSpec
from star_al.errors import ClusterError, DataError, LeaseHeldError, ModelError
from star_al.ports import Embed, Job, Predict, PredictBase, Progress, ignore
from star_al.task import closed, make_task
from star_al.types import BasePrediction, Item, Predictions, StudyRun
from support.campaigns import write_campaign
from support.cluster import open_numpy
from support.kill_at import use_numpy_learner
from support.numpy_learner import NumpyLearner
from support.quiet import Quiet
from support.tiny_encoder import build_tiny_encoder

ITEMS = [Item(f"{n:03d}", f"goal market chip number {n}") for n in range(40)]


class Driver:
    """Stands for the driver's process: runs each task at once, unless ``faults`` says what happens in its place."""

    faults: ClassVar[deque[Callable[[str], Message]]] = deque()
    started: ClassVar[int] = 0
    done: ClassVar[list[AnyTask]] = []

    def __init__(self, begin: Begin) -> None:
        Driver.started += 1
        self._worker = Worker(begin.artefacts, begin.campaign)
        self._messages: deque[Message] = deque()

    def submit(self, submit: Submit) -> None:
        if Driver.faults:
            self._messages.append(Driver.faults.popleft()(submit.key))
            return
        Driver.done.append(submit.task)
        outcome = self._worker.run(submit.key, submit.task, submit.order)
        self._messages.append(Finished(submit.key, outcome))

    def receive(self, timeout: float) -> Message | None:
        return self._messages.popleft() if self._messages else None

    def end(self) -> None:
        self._messages.clear()


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Driver]]:
    monkeypatch.setattr(on_ray, "DriverProcess", Driver)
    monkeypatch.setattr(on_ray, "PAUSE", 0.0)
    Driver.faults.clear()
    Driver.done.clear()
    Driver.started = 0
    yield Driver
    assert not Driver.faults


class Cluster:
    """A campaign's compute on the stand-in, its learner, and an adapter."""

    def __init__(self, folder: Path, shared: SharedFiles | None = None, **settings: Any) -> None:
        spec = load_campaign(write_campaign(folder)).spec
        self.learner = NumpyLearner(closed(make_task(spec.task)))
        self.artefacts = ArtefactFolder(folder / "artefacts", shared)
        self.artefacts.prepare()
        with self.artefacts.stage() as staged:
            examples = [(item, "sport") for item in ITEMS[:3]]
            self.learner.fit(examples, pool=None, seed=0, folder=staged, parent=None, advance=ignore)  # type: ignore[arg-type]
            self.adapter = self.artefacts.path_of(self.artefacts.adopt(staged, "numpy").sha256)
        self.order = Order(
            opener=f"{open_numpy.__module__}:open_numpy",
            file=str(folder / "campaign.yaml"),
            spec=spec.model_dump(mode="json"),
            options={},
            model_key=self.learner.base_key,
        )
        self.progress = Quiet()
        self.compute = RayCompute(
            RayComputeSpec(kind="ray", **settings),
            [(self.learner, lambda: self.order)],
            self.artefacts,
            "1",
            self.progress,
            splits=True,
            check=lambda: None,
        )

    def jobs(self, n: int = 5) -> list[Predict]:
        """Calls of 8 items each."""
        return [Predict(self.adapter, ITEMS[8 * k : 8 * k + 8], range(3), 7) for k in range(n)]

    def found(self, jobs: list[Any]) -> list[Any]:
        return list(self.compute.each(self.learner, jobs, ignore))

    def are_own(self, found: list[Predictions]) -> bool:
        """True if these are what the learner itself answers to ``jobs``."""
        own = [job.run(self.learner, ignore) for job in self.jobs()]
        return all(same(*pair) for pair in zip(found, own, strict=True))

    def left(self) -> list[str]:
        return sorted(path.name for path in (self.artefacts.root / ".work").rglob("*.npz"))


def same(one: Predictions, other: Predictions) -> bool:
    return (
        np.array_equal(one.log_probs_N_K_C, other.log_probs_N_K_C)
        and one.item_ids == other.item_ids
        and one.answers == other.answers
    )


@pytest.mark.parametrize("n", [1, 5])
def test_results_are_the_learners_own_in_order_and_nothing_is_left(
    tmp_path: Path, drivers: type[Driver], n: int
) -> None:
    cluster, read = Cluster(tmp_path), list[int]()
    jobs = cluster.jobs(n)
    for job, found in zip(jobs, cluster.compute.each(cluster.learner, jobs, read.append), strict=True):
        assert same(found, job.run(cluster.learner, ignore))
    assert sum(read) == 8 * n
    assert len(drivers.done) == (
        3 if n == 1 else 5
    )  # one call is split by its samples, so that all have work
    assert cluster.left() == []


def test_what_was_begun_is_not_done_again(tmp_path: Path, drivers: type[Driver]) -> None:
    cluster = Cluster(tmp_path)
    for job in cluster.jobs():
        cluster.compute.begin(cluster.learner, job)
    found = [cluster.found([job])[0] for job in cluster.jobs()]
    assert cluster.are_own(found)
    assert (len(drivers.done), cluster.left()) == (5, [])


def test_base_predictions_and_embeddings_come_back_to_the_last_bit(
    tmp_path: Path, drivers: type[Driver]
) -> None:
    cluster = Cluster(tmp_path)
    base, embedded = PredictBase(ITEMS), Embed(cluster.adapter, ITEMS)
    (found,) = cluster.found([base])
    for one, own in zip(found, base.run(cluster.learner, ignore), strict=True):
        assert one.item_id == own.item_id and np.array_equal(one.log_probs_C, own.log_probs_C)
    (vectors,) = cluster.found([embedded])
    assert vectors.dtype == np.float32 and np.array_equal(vectors, embedded.run(cluster.learner, ignore))


def test_a_lost_cluster_is_connected_again_and_told_once(tmp_path: Path, drivers: type[Driver]) -> None:
    cluster = Cluster(tmp_path)
    drivers.faults.extend([lambda key: Ended(reason="nobody listens")] * 2)
    found = cluster.found(cluster.jobs())
    assert cluster.are_own(found)
    assert drivers.started >= 2
    assert [line for line in cluster.progress.said if "does not answer (nobody listens)" in line] != []


def test_a_cluster_that_stays_away_ends_the_work_and_keeps_what_was_done(
    tmp_path: Path, drivers: type[Driver]
) -> None:
    cluster = Cluster(tmp_path, wait_seconds=0.0)
    drivers.faults.append(lambda key: Ended(reason="gone"))
    with pytest.raises(ClusterError, match="has not answered for 0 s"):
        cluster.found(cluster.jobs())
    assert len(cluster.left()) == 3  # the first of four was lost
    drivers.done.clear()
    again = Cluster(tmp_path)
    again.found(again.jobs())
    assert (len(drivers.done), again.left()) == (2, [])


def test_a_result_that_does_not_arrive_is_asked_for_again(tmp_path: Path, drivers: type[Driver]) -> None:
    cluster = Cluster(tmp_path)
    drivers.faults.append(lambda key: Finished(key, Done(f"{key}.00.npz", 0)))
    assert len(cluster.found(cluster.jobs(1))) == 1
    drivers.faults.extend([lambda key: Finished(key, Done(f"{key}.00.npz", 0))] * 20)
    with pytest.raises(ClusterError, match="does not arrive here"):
        cluster.found([Embed(None, ITEMS)])
    drivers.faults.clear()


def test_an_error_of_the_learner_arrives_as_it_is(tmp_path: Path, drivers: type[Driver]) -> None:
    cluster = Cluster(tmp_path)
    (cluster.adapter / "model.json").write_text("{}")
    with pytest.raises(Exception, match="damaged") as caught:
        cluster.found(cluster.jobs())
    assert type(caught.value).__name__ in ("StoreError", "ModelError")


def test_a_worker_with_another_model_is_refused(tmp_path: Path, drivers: type[Driver]) -> None:
    cluster = Cluster(tmp_path)
    cluster.order = replace(cluster.order, model_key="another")
    with pytest.raises(ModelError, match="a worker reads other weights"):
        cluster.found(cluster.jobs())


def test_calls_of_another_learner_stay_here(tmp_path: Path, drivers: type[Driver]) -> None:
    cluster = Cluster(tmp_path)
    head = NumpyLearner(cluster.learner.task)
    jobs: list[Job[Predictions]] = [*cluster.jobs()]
    assert len(list(cluster.compute.each(head, jobs, ignore))) == 5
    assert drivers.started == 0


def test_machines_without_a_common_folder_meet_at_shared_storage(
    tmp_path: Path, drivers: type[Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAR_AL_CACHE", str(tmp_path / "worker"))
    cluster = Cluster(tmp_path, SharedFiles(f"file://{tmp_path}/shared"))
    for _ in range(2):  # a worker keeps nothing that others cannot read
        assert cluster.are_own(cluster.found(cluster.jobs()))
    assert len(drivers.done) == 10
    (copy,) = (tmp_path / "worker").rglob("model.json")  # fetched
    assert list(tmp_path.rglob("*.npz")) == []
    assert all(folder.stat().st_mode & 0o77 == 0 for folder in (tmp_path / "worker" / "artefacts").iterdir())
    os.utime(copy.parent, (0, 0))
    worker = Worker(f"file://{tmp_path}/shared", "2")
    task = Task("predict", None, (("a", "goal", ()),))
    assert isinstance(worker.run("k", task, cluster.order), Done)
    assert not copy.exists()  # of no use for a day
    assert isinstance(worker.run("l", replace(task, artefact=cluster.adapter.name), cluster.order), Done)
    assert copy.exists()


def test_what_was_begun_and_is_done_before_it_is_asked_for_is_found_on_shared_storage(
    tmp_path: Path, drivers: type[Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAR_AL_CACHE", str(tmp_path / "worker"))
    cluster = Cluster(tmp_path, SharedFiles(f"file://{tmp_path}/shared"))
    cluster.compute.begin(cluster.learner, cluster.jobs()[0])
    cluster.compute.begin(cluster.learner, cluster.jobs()[1])
    for job in (cluster.jobs()[1], cluster.jobs()[0]):
        assert same(cluster.found([job])[0], job.run(cluster.learner, ignore))
    assert (len(drivers.done), list(tmp_path.rglob("*.npz"))) == (2, [])


def test_a_result_that_is_damaged_on_shared_storage_is_made_again(
    tmp_path: Path, drivers: type[Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAR_AL_CACHE", str(tmp_path / "worker"))
    cluster = Cluster(tmp_path, SharedFiles(f"file://{tmp_path}/shared"))
    (job,) = cluster.jobs(1)
    cluster.compute.begin(cluster.learner, job)
    (path,) = (tmp_path / "shared").rglob("*.npz")
    path.write_bytes(b"cut")
    assert same(cluster.found([job])[0], job.run(cluster.learner, ignore))


def test_texts_of_a_head_are_encoded_elsewhere_to_the_last_bit(tmp_path: Path, drivers: type[Driver]) -> None:
    from star_al.models.encoder import open_encoder

    build_tiny_encoder(tmp_path / "encoder")
    cluster, path = Cluster(tmp_path), str(tmp_path / "encoder")
    encoder, texts = open_encoder(path, device="cpu", dtype="float32"), [item.text for item in ITEMS] * 2
    own = encoder.encode(texts)
    order = Order(
        opener=computing.ENCODER_OPENER,
        file=str(tmp_path / "campaign.yaml"),
        spec={"encoder": "encoder", "revision": None, "max_tokens": None},
        options={"device": "cpu", "dtype": "float32"},
        model_key=encoder.fingerprint,
    )
    cluster.compute._models = [(encoder, lambda: order)]
    with computing._encoding_on(cluster.compute, encoder):
        found = encoder.encode(texts)
    assert np.array_equal(found.vectors_N_d, own.vectors_N_d) and np.array_equal(found.cut_N, own.cut_N)
    assert len(drivers.done) == 4
    assert encoder.elsewhere is None


def test_a_worker_computes_with_the_threads_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from star_al.models.devices import threads_in_use, use_threads

    build_tiny_encoder(tmp_path / "encoder")
    order = Order(
        opener=computing.ENCODER_OPENER,
        file=str(tmp_path / "campaign.yaml"),
        spec={"encoder": "encoder", "revision": None, "max_tokens": None},
        options={"device": "cpu", "dtype": "float32"},
        model_key="",
        threads=3,
    )
    before = threads_in_use()
    try:
        computing.open_encoder_on_worker(order)
        assert threads_in_use() == 3
    finally:
        use_threads(before)


def test_results_keep_priors_and_written_answers(tmp_path: Path) -> None:
    files = ResultFiles(ArtefactFolder(tmp_path), "1")
    rows = [np.log([0.25, 0.75]), np.log([0.2, 0.3, 0.5])]
    told = [
        BasePrediction("a", rows[0], log_prior_C=rows[1], answers=("yes", None), uncertainty=0.1),
        BasePrediction("b", rows[1]),
    ]
    found: Any = files.read(files.write("k", told))
    assert [(one.item_id, one.answers, one.uncertainty) for one in found] == [
        ("a", ("yes", None), 0.1),
        ("b", (), None),
    ]
    assert np.array_equal(found[0].log_prior_C, rows[1]) and found[1].log_prior_C is None
    log_probs = np.log(np.array([[[0.5, 0.5]], [[0.1, 0.9]]]))
    open_ = Predictions(
        ("a", "b"), log_probs, (("x", None), ("y", None)), True, {"entropy": np.array([1.0, 2.0])}
    )
    name = files.write("p", open_)
    again: Any = files.read(name)
    assert same(again, open_) and again.open_ended and again.signals["entropy"].tolist() == [1.0, 2.0]
    path = files.folder / name
    path.write_bytes(path.read_bytes()[:-9])
    assert files.read(name) is None and files.find("p") is None


def test_a_worker_is_told_no_secret_and_no_place(tmp_path: Path) -> None:
    path = write_campaign(
        tmp_path,
        annotator={"kind": "label_studio", "url": "http://host.example:8080", "token_env": "STAR_AL_TOKEN"},
        database__url="postgresql://me:${STAR_AL_SECRET}@db.example/labels",
        data__path="https://data.example/pool.jsonl",
    )
    spec = load_campaign(path).spec
    told = json.dumps(computing._pinned(spec, NumpyLearner(closed(make_task(spec.task)))))
    for secret in ("example", "SECRET", "TOKEN", "pool.jsonl"):
        assert secret not in told
    assert CampaignSpec.model_validate(json.loads(told)).task == spec.task


def test_campaigns_run_as_a_whole_and_say_how_they_ended(
    tmp_path: Path, drivers: type[Driver], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_numpy_learner(monkeypatch.setattr)
    monkeypatch.setattr(computing, "find_spec", lambda name: True)
    monkeypatch.setattr(study_on_cluster, "LEASE_PAUSE", 0.01)
    started, held = running.run, [LeaseHeldError("by a lost worker")]

    def run(file: CampaignFile, progress: Progress) -> None:
        if held and file.spec.name == "held":
            raise held.pop()
        started(file, progress)

    monkeypatch.setattr(running, "run", run)
    names = ("good", "bad", "held")
    files = {
        name: load_campaign(write_campaign(tmp_path, name=name, stopping__max_rounds=1)) for name in names
    }
    gone = files["bad"].spec.data.model_copy(update={"path": "gone.jsonl"})
    files["bad"] = files["bad"].model_copy(
        update={"spec": files["bad"].spec.model_copy(update={"data": gone})}
    )
    begun, lines = list[str](), list[int]()
    found = dict(
        study_on_cluster.run_on_cluster(
            RayComputeSpec(kind="ray"), files, tmp_path / "shared", Quiet(), begun.append, lines.append
        )
    )
    assert begun == list(names) == list(found)
    assert found["good"].error is None and found["held"].error is None and not held
    assert type(found["bad"].error) is DataError and "gone.jsonl" in str(found["bad"].error)
    for name in ("good", "held"):
        with reading(files[name]) as (store, campaign):
            assert len(store.rounds(campaign.campaign_id)) == 2
    keys = {task.key("") for task in drivers.done}
    assert len(keys) == 3 and all(task.items == [] for task in drivers.done)
    assert [task.words for task in drivers.done] == ["ran good", "ran bad", "ran held"]
    assert list((tmp_path / "shared").iterdir()) == []  # nothing of the cluster's is left


def test_without_ray_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_numpy_learner(monkeypatch.setattr)
    monkeypatch.setattr(computing, "find_spec", lambda name: None)
    file = load_campaign(write_campaign(tmp_path, compute={"kind": "ray"}))
    with pytest.raises(ClusterError, match=r"pip install 'star-al\[ray\]'"):
        running.run(file, Quiet())


def test_a_cluster_elsewhere_must_be_named_by_the_user_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_numpy_learner(monkeypatch.setattr)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.6:6379")
    file = load_campaign(write_campaign(tmp_path, compute={"kind": "ray", "address": "10.0.0.5:6379"}))
    with pytest.raises(ClusterError, match=r"export RAY_ADDRESS=10\.0\.0\.5:6379"):
        running.run(file, Quiet())


def test_doctor_says_whether_the_head_answers(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        compute = {"kind": "ray", "address": address}
        file = load_campaign(write_campaign(tmp_path, compute=compute))
        assert isinstance(file.spec.compute, RayComputeSpec)
        assert computing.check_cluster(file, file.spec.compute).endswith(f"{address} answers")
    with pytest.raises(ClusterError, match=f"{address}: nobody listens"):
        computing.check_cluster(file, file.spec.compute)


def test_runs_of_a_study_use_a_cluster_only_where_its_machines_share_a_folder(tmp_path: Path) -> None:
    own = load_campaign(write_campaign(tmp_path, compute={"kind": "ray"}))
    assert study_spec(own, gold=None, rounds=None).compute.kind == "local"
    cluster = {"kind": "ray", "address": "127.0.0.1:6379"}
    storage = load_campaign(write_campaign(tmp_path, compute=cluster, artefacts="file:///shared"))
    assert study_spec(storage, gold=None, rounds=None).compute.kind == "local"
    shared = load_campaign(write_campaign(tmp_path, compute=cluster, artefacts="net"))
    assert study_spec(shared, gold=None, rounds=None).compute == shared.spec.compute
    run = run_file(shared, StudyRun("random", 0, "news.random.0"), tmp_path / "study")
    assert run.artefact_folder == tmp_path / "net" / "news.random.0"


@pytest.mark.parametrize("address", ["ray://host:10001", "host", "user:pass@host:6379", "h:0", "h:65536"])
def test_an_address_that_is_no_host_and_port_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host and a port|has no port from 1 to 65535"):
        RayComputeSpec(kind="ray", address=address)


def test_say_is_shown(tmp_path: Path, drivers: type[Driver]) -> None:
    cluster = Cluster(tmp_path)
    drivers.faults.append(lambda key: Say("a line"))
    drivers.faults.append(lambda key: Ended(reason="gone"))
    cluster.found(cluster.jobs(2))
    assert "a line" in cluster.progress.said


def test_each_loss_is_waited_for_anew_once_the_cluster_was_back(
    tmp_path: Path, drivers: type[Driver]
) -> None:
    cluster = Cluster(tmp_path)
    drivers.faults.extend([lambda key: Ended(reason="gone")] * 4)  # for each task
    drivers.faults.extend([lambda key: Say("a line"), lambda key: Ended(reason="gone")])
    cluster.found(cluster.jobs(2))
    assert len([line for line in cluster.progress.said if "does not answer" in line]) == 2
