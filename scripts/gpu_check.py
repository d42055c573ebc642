"""Check a GPU in a few minutes: correctness, speed, and a small campaign from its start to its end.

python scripts/gpu_check.py --json gpu.json

Needs a checkout of the repository with `star-al[test]` installed, and no network: models are made up. A part that
fails does not keep the others from running. Parts that no longer fit into ``--minutes`` are skipped, and it is said so.
The exit code is 1 if a part of correctness or the campaign failed; speed alone fails no check. ``--device cpu`` runs
the same parts on a CPU, to test the script itself.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import psutil
from gpu_parts import CORRECTNESS, Measured, Place, SkippedError
from speed_table import table

from star_al.errors import StarALError
from star_al.models.devices import resolve_device
from star_al.models.quiet import quiet
from support.campaigns import write_campaign
from support.small_models import save_small_model, small_config

ROOT = Path(__file__).resolve().parents[1]

SIZES: Mapping[str, Mapping[str, int]] = {
    "cuda": {
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 64,
    },
    "cpu": {},
}
"""The model that is timed, by kind of device: about 0.3 billion parameters, or the two narrow layers of the tests."""

SHAPES: Mapping[str, list[str]] = {"cuda": ["32 × 90", "8 × 400"], "cpu": ["32 × 90"]}
"""Texts and tokens of the speed table."""

FEWEST_SECONDS = {"speed: scoring": 40.0, "speed: training": 30.0, "campaign": 60.0}
"""What a part needs at least; it is not begun with less. Others are begun with ``LEAST``."""

LEAST = 5.0


class OutOfTimeError(Exception):
    """The time for a part is over."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu")
    parser.add_argument("--minutes", type=float, default=8.0, help="when all of it is over")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    parser.add_argument("--parts", nargs="+", help="run these alone")
    arguments = parser.parse_args()
    imports = time.time() - psutil.Process().create_time()  # they count too
    deadline = time.monotonic() - imports + 60 * arguments.minutes
    try:
        device = resolve_device(arguments.device)
    except StarALError as exc:
        print(f"gpu_check.py: {exc} Without a GPU, --device cpu runs what a CPU can.", file=sys.stderr)
        sys.exit(2)
    warnings.simplefilter("ignore")
    result: dict[str, Any] = {"device": str(device), "minutes": arguments.minutes, "parts": {}}
    with tempfile.TemporaryDirectory(prefix="gpu_check") as name, quiet():
        place = Place(device, Path(name))
        parts = all_parts(place, deadline)
        for part in arguments.parts or parts:
            if part not in parts:
                parser.error(f"there is no part {part!r}; choose from {', '.join(parts)}")
            result["parts"][part] = found = run(part, parts[part], deadline)
            print(row(part, found), flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"\n{summary(result)}")
    failed = any(counts(part, found) for part, found in result["parts"].items())
    passed = any(found["outcome"] == "passed" for found in result["parts"].values())
    sys.exit(0 if passed and not failed else 1)


def all_parts(place: Place, deadline: float) -> dict[str, Callable[[], Measured]]:
    """What is run, in its order."""
    parts: dict[str, Callable[[], Measured]] = {
        name: partial(check, place) for name, check in CORRECTNESS.items()
    }
    for kind in ("scoring", "training"):
        parts[f"speed: {kind}"] = partial(speed, place, kind, deadline)
    parts["campaign"] = partial(campaign, place, deadline)
    return parts


# -- one part --------------------------------------------------------------------------------------------------


def run(name: str, part: Callable[[], Measured], deadline: float) -> dict[str, Any]:
    """Run a part; returns its outcome, its seconds, and what it measured or why it failed."""
    start = time.monotonic()
    if deadline - start < FEWEST_SECONDS.get(name, LEAST):
        return {"outcome": "skipped", "why": "no time left", "seconds": 0.0}
    outcome: dict[str, Any]
    try:
        with at_most(deadline - start):
            outcome = {"outcome": "passed", "measured": dict(part())}
    except SkippedError as exc:
        outcome = {"outcome": "skipped", "why": str(exc)}
    except OutOfTimeError:
        hangs = name in CORRECTNESS  # for all that is known
        outcome = {
            "outcome": "failed" if hangs else "skipped",
            "why": "the time was over before it ended",
        }
    except Exception as exc:  # the other parts run all the same
        outcome = {
            "outcome": "failed",
            "why": f"{type(exc).__name__}: {exc}",
            "traceback": traceback.format_exc(),
        }
    return {**outcome, "seconds": round(time.monotonic() - start, 1)}


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise an ``OutOfTimeError`` in the block when its time is over."""

    def stop(*_: object) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def speed(place: Place, kind: str, deadline: float) -> Measured:
    """A part of ``bench_speed.py`` on a model of random weights."""
    where = place.device.type
    folder = place.folder / "timed"
    if not folder.exists():
        settings = {"max_position_embeddings": 2048, "vocab_size": 32_000} if SIZES[where] else {}
        save_small_model(folder, small_config("Llama", **SIZES[where], **settings))
    out = place.folder / f"{kind}.json"
    command = [sys.executable, str(ROOT / "scripts" / "bench_speed.py")]
    command += ["--model", str(folder), "--device", str(place.device), "--parts", kind, "--json", str(out)]
    command += ["--repeats", "2", "--shapes", *SHAPES[where], "--targets", "all projections"]
    command += ["--paths", "base", "base, prefix once", "transformers", "map", "laplace", "peft, eval"]
    call(command, deadline)
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def campaign(place: Place, deadline: float) -> Measured:
    """Run a campaign to its end, and replay its first trained round."""
    folder = place.folder / "campaign"
    model = {"name": str(place.model), "dtype": "auto", "device": str(place.device), "max_tokens": 96}
    path = write_campaign(folder, n=200, model=model, acquisition__batch_size=16)
    start = time.monotonic()
    call([*STAR_AL, "run", str(path)], deadline)
    seconds = time.monotonic() - start
    call([*STAR_AL, "replay", str(path), "--round", "1"], deadline)
    rounds = json.loads(call([*STAR_AL, "history", str(path), "--format", "json"], deadline))
    return {"rounds": len(rounds), "seconds": round(seconds, 1)}


STAR_AL = (sys.executable, "-m", "star_al")


def call(command: list[str], deadline: float) -> str:
    """Run a program until the time is over; returns what it printed.

    Raises:
        AssertionError: It failed.
    """
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=max(1.0, deadline - time.monotonic()),
            env=environment,
        )
    except subprocess.TimeoutExpired as exc:
        raise OutOfTimeError from exc
    assert done.returncode == 0, (
        f"{' '.join(command[1:4])} … ended with {done.returncode}:\n{done.stderr[-2000:]}"
    )
    return done.stdout


# -- what is printed -------------------------------------------------------------------------------------------


def counts(name: str, found: Mapping[str, Any]) -> bool:
    """Whether a part's failure makes the whole fail."""
    return found["outcome"] == "failed" and not name.startswith("speed")


def row(name: str, found: Mapping[str, Any]) -> str:
    """A line on a part."""
    return f"{name:<24} {found['outcome']:<8} {found['seconds']:6.1f} s  {_said(name, found)}"


def _said(name: str, found: Mapping[str, Any]) -> str:
    if "why" in found:
        return str(found["why"]).splitlines()[0]
    if name.startswith("speed"):
        return ""
    return ", ".join(f"{key} {_short(value)}" for key, value in found["measured"].items())


def _short(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def summary(result: Mapping[str, Any]) -> str:
    """The speed table, and how many parts did what."""
    parts = result["parts"]
    timed: dict[str, Any] = {}
    for name, found in parts.items():
        if name.startswith("speed") and found["outcome"] == "passed":
            timed |= found["measured"]
    outcomes = [found["outcome"] for found in parts.values()]
    said = ", ".join(f"{outcomes.count(kind)} {kind}" for kind in ("passed", "failed", "skipped"))
    failed = [name for name, found in parts.items() if found["outcome"] == "failed"]
    return "\n".join(
        [
            *([table(timed), ""] if timed else []),
            f"{said}{'. Failed: ' + ', '.join(failed) if failed else ''}",
            *(f"\n{name}\n{parts[name]['traceback']}" for name in failed),
        ]
    )


if __name__ == "__main__":
    main()
