"""Train adapters together with other processes; run as a program of its own by ``launch``.

It reads a ``Setup`` and then ``Order`` s from standard input and writes messages to standard output. It exits when its
input closes.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import threading
import warnings
from typing import Any, BinaryIO

from accelerate import PartialState

from star_al.errors import ModelError, StarALError
from star_al.models.activation_cache import ActivationCache
from star_al.models.backbone import Backbone
from star_al.models.devices import first_line, resolve_device, use_threads
from star_al.models.out_of_memory import is_out_of_memory
from star_al.models.parallel.group import Group
from star_al.models.parallel.orders import MessageKind, Order, Setup
from star_al.models.quiet import quiet
from star_al.models.target_layers import transformer_blocks
from star_al.models.train import Trained, train
from star_al.models.trunk import Trunk
from star_al.ports import ignore


class _Output:
    """Where messages go."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def send(self, kind: MessageKind, content: Any) -> None:
        """Write a message."""
        pickle.dump((kind, content), self._stream)
        self._stream.flush()


class _Worker:
    """Trains one adapter after another."""

    def __init__(self, setup: Setup, output: _Output) -> None:
        self._setup, self._output = setup, output
        device = resolve_device(setup.device)
        on_cpu = device.type == "cpu"
        state = PartialState(cpu=on_cpu, **({"backend": "gloo"} if on_cpu else {}))
        shares = setup.training.strategy == "fsdp"
        self._group = Group(state.process_index, state.num_processes, in_step=shares)
        use_threads(setup.threads)  # after accelerate, which sets them by the number of cores
        self._backbone = Backbone(setup.folder, setup.dtype, device, setup.quantise)
        if shares:
            from star_al.models.parallel.sharding import shard_blocks

            shard_blocks(self._backbone)
        self._trunk: Trunk | None = None

    def work(self, order: Order) -> None:
        """Train an adapter; the first process sends it."""
        spec, readout = order.arguments["spec"], self._backbone.readout
        if self._setup.has_trunk and self._trunk is None:
            _, blocks = transformer_blocks(self._backbone.model)
            place = self._setup.cache
            cache = None if place is None else ActivationCache(*place, say=_discard)
            self._trunk = Trunk(readout, blocks, spec.layers, cache)
        first = self._group.rank == 0
        with quiet(), readout.classifying(order.classifier):
            tensors, config = train(
                self._backbone,
                **order.arguments,
                trunk=self._trunk,
                processes=self._group,
                advance=self._report if first else ignore,
            )
        if first:
            trained: Trained = {name: tensor.cpu() for name, tensor in tensors.items()}, config
            self._output.send("trained", trained)

    def _report(self, steps: int) -> None:
        self._output.send("steps", steps)


def _discard(_: str) -> None:
    """Leave it to the first process to tell that the cache is full."""


def main() -> None:
    """Work on what standard input gives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    warnings.simplefilter("ignore")  # libraries' warnings, as on the command line
    output = _Output(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # what libraries print is no message
    orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(orders,), name="orders", daemon=True).start()
    try:
        worker = _Worker(orders.get(), output)
        while True:
            worker.work(orders.get())
    except StarALError as exc:
        output.send("failed", exc)
    except Exception as exc:
        if is_out_of_memory(exc):
            output.send("out of memory", first_line(exc))
        else:
            output.send("failed", ModelError(f"training failed with {type(exc).__name__}: {first_line(exc)}"))
    os._exit(1)  # the process group would wait for the others, which the parent ends


def _read(orders: queue.SimpleQueue[Any]) -> None:
    """Pass orders on; exit when there will be no more."""
    stream = os.fdopen(os.dup(0), "rb")
    try:
        while True:
            orders.put(pickle.load(stream))
    except EOFError:
        os._exit(1)


if __name__ == "__main__":
    main()
