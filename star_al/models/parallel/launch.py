"""Start the processes that train an adapter together, give them work and take what they make of it.

Each runs ``star_al.models.parallel.worker``; nothing is forked, so CUDA works. A process group of torch joins them, and
they keep the base model from one adapter to the next, as those of an ensemble, until the context ends.
"""

from __future__ import annotations

import os
import queue
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from star_al.config.spec import AdapterSpec, TrainingSpec
from star_al.errors import ModelError
from star_al.models.adapter_file import LoraWeights
from star_al.models.backbone import Backbone
from star_al.models.devices import require_gpus, threads_in_use
from star_al.models.parallel.orders import Order, Setup
from star_al.models.parallel.process import Messages, Process
from star_al.models.prompts import Prompt
from star_al.models.quantised import is_quantised
from star_al.models.targets import Columns, TaughtPrompts
from star_al.models.trunk import Trunk
from star_al.ports import Advance

if TYPE_CHECKING:
    from star_al.models.train import Trained
    from star_al.models.training_loss import TrainingExtension


LOOPBACK = "127.0.0.1"

CAUSE = 2.0
"""Seconds between two messages in which another process may explain the failure of the first."""


def processes_for(backbone: Backbone, training: TrainingSpec) -> TrainingProcesses | None:
    """Return the processes that train together, which are not started yet; ``None`` to train in this one.

    Args:
        backbone: The base model.
        training: How the work is divided.

    Raises:
        ModelError: There are too few GPUs, or the base model cannot be divided.
    """
    if training.processes == 1:
        return None
    _require_devices(backbone.device, training.processes)
    if training.strategy == "fsdp" and is_quantised(backbone.model):
        raise ModelError(
            f"{backbone.folder}: the model is quantised, and adapter.training.strategy: fsdp divides floats alone. "
            "Set strategy: ddp."
        )
    return TrainingProcesses(backbone, training)


def _require_devices(device: torch.device, n: int) -> None:
    if device.type not in ("cpu", "cuda"):
        raise ModelError(
            f"adapter.training.processes: {n} needs GPUs of CUDA, or a CPU, not {device.type}. Set it to 1."
        )
    if device.type == "cuda":
        require_gpus(device, n, "adapter.training.processes")


class TrainingProcesses:
    """Processes that train adapters together; as a context manager, ends them.

    Args:
        backbone: The base model.
        training: How the work is divided.
    """

    def __init__(self, backbone: Backbone, training: TrainingSpec) -> None:
        self._backbone, self._training = backbone, training
        self._running: list[Process] = []
        self._messages: Messages = queue.SimpleQueue()

    def __enter__(self) -> TrainingProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.end()
        self._running = []
        self._messages = queue.SimpleQueue()

    def train(
        self,
        examples: Sequence[tuple[Prompt, Columns]],
        spec: AdapterSpec,
        *,
        seed: int,
        parent: LoraWeights | None,
        advance: Advance,
        trunk: Trunk | None = None,
        extension: TrainingExtension | None = None,
        taught: TaughtPrompts | None = None,
        writes: bool = False,
    ) -> Trained:
        """Train an adapter as ``star_al.models.train.train`` does.

        Raises:
            ModelError: As there, or a process ended.
            RuntimeError: A process ran out of memory.
        """
        arguments = {
            "examples": examples,
            "spec": spec,
            "seed": seed,
            "parent": parent,
            "extension": extension,
            "taught": taught,
            "writes": writes,
        }
        classifier = self._backbone.readout.classifier
        order = Order(arguments, None if classifier is None else classifier.on(torch.device("cpu")))
        with _set_aside(self._backbone):
            try:
                self._start(trunk)
                for process in self._running:
                    process.send(order)
                return self._result(advance)
            except BaseException:
                self.__exit__()  # the others wait for the one that failed
                raise

    def _result(self, advance: Advance) -> Trained:
        while True:
            rank, kind, content = self._messages.get()
            if kind == "trained":
                found: Trained = content
                return found
            if kind == "steps":
                advance(content)
            elif kind == "out of memory":
                raise RuntimeError(content)
            elif kind == "failed":
                raise self._cause(rank) or content
            else:
                raise self._ended(rank, content)

    def _cause(self, failed: int) -> ModelError | None:
        """Return what explains the failure of a process: that another one was killed, which breaks their exchange."""
        with suppress(queue.Empty):
            while True:
                rank, kind, content = self._messages.get(timeout=CAUSE)
                if kind == "ended" and rank != failed and self._running[rank].was_killed:
                    return self._ended(rank, content)
        return None

    def _ended(self, rank: int, how: str) -> ModelError:
        return ModelError(f"training process {rank + 1} of {len(self._running)} {how}")

    def _start(self, trunk: Trunk | None) -> None:
        if self._running:
            return
        size, device = self._training.processes, self._backbone.device
        # The store through which they find each other lives here, so that its port is free for certain. Left to itself
        # it would listen on all interfaces.
        with socket.create_server((LOOPBACK, 0)) as listening:
            port = listening.getsockname()[1]
            self._store = TCPStore(
                LOOPBACK,
                port,
                size,
                is_master=True,
                wait_for_workers=False,
                master_listen_fd=listening.detach(),
            )
        for rank in range(size):
            card = (device.index or 0) + rank
            setup = Setup(
                self._backbone.folder,
                self._backbone.dtype,
                self._backbone.quantise,
                "cpu" if device.type == "cpu" else f"cuda:{card}",
                self._training,
                max(1, threads_in_use() // size),
                trunk is not None,
                None if trunk is None else trunk.cache_place,
            )
            process = Process(rank, _environment(rank, size, card, self._store.port), self._messages)
            self._running.append(process)
            process.send(setup)


def _environment(rank: int, size: int, card: int, port: int) -> dict[str, str]:
    """Return the variables that torch's process groups are set up from, as torchrun sets them."""
    return {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(card),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": LOOPBACK,
        **({"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}),
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }


@contextmanager
def _set_aside(backbone: Backbone) -> Iterator[None]:
    """Within, this process's base model leaves a GPU to the processes that train on it."""
    if backbone.device.type != "cuda" or is_quantised(backbone.model):
        yield
        return
    backbone.model.to("cpu")
    torch.cuda.empty_cache()
    try:
        yield
    finally:
        backbone.model.to(backbone.device)
