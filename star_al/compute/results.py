"""Results of tasks as files: nothing is rounded, and a file's name has the hash of its content."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from star_al.artefacts.folder import ArtefactFolder
from star_al.common.files import aside, disk_errors, publish, sha256_of
from star_al.errors import StoreError
from star_al.ports import MemberFiles
from star_al.types import BasePrediction, Float32Array, FloatArray, JsonObject, JsonValue, Predictions

Result: TypeAlias = Predictions | list[BasePrediction] | Float32Array | MemberFiles
_Arrays: TypeAlias = dict[str, npt.NDArray[Any]]


class ResultFiles:
    """Results that have not been used yet, which any process may read and write.

    Args:
        artefacts: The artefact folder, in whose work folder they are.
        campaign: Whose results they are.
    """

    def __init__(self, artefacts: ArtefactFolder, campaign: str) -> None:
        self._name = results_folder(campaign)
        self.folder = artefacts.root / self._name
        self._artefacts, self._shared = artefacts, artefacts.shared

    def find(self, key: str) -> str | None:
        """The name of a task's result; None if there is none. A damaged file is removed.

        With shared storage, what is there now counts alone: nobody else can read a copy here.
        """
        if self._shared is not None:
            return next((name for name in self._shared.sizes(self._name) if name.startswith(f"{key}.")), None)
        for path in self.folder.glob(f"{key}.*.npz"):
            if _is_whole(path):
                return path.name
            path.unlink(missing_ok=True)
        return None

    def write(self, key: str, result: Result) -> str:
        """Write a task's result, and return the file's name.

        Raises:
            StoreError: It cannot be written.
        """
        with self._disk_errors(), aside(self._made()) as path:
            header, arrays = _packed(result)
            with path.open("wb") as file:
                packed = np.frombuffer(json.dumps(header).encode(), np.uint8)
                np.savez(file, header=packed, **arrays)  # type: ignore[arg-type]
            name = f"{key}.{sha256_of(path)[:32]}.npz"
            if self._shared is None:
                publish(path, self.folder / name)
            else:
                self._shared.upload(path, f"{self._name}/{name}")
        return name

    def read(self, name: str) -> Result | None:
        """The result in a file; None if it is missing, or was damaged and is removed."""
        path = self.folder / name
        if self._shared is not None and not _is_whole(path):
            with self._disk_errors(), aside(self._made()) as fetched:
                if not self._shared.download(f"{self._name}/{name}", fetched):
                    return None
                fetched.replace(path)
        if not _is_whole(path):
            if path.exists():
                self.remove(name)
            return None
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        header: JsonObject = json.loads(arrays.pop("header").tobytes())
        return _unpacked(header, arrays)

    def remove(self, name: str) -> None:
        """Remove a result that is kept elsewhere by now."""
        (self.folder / name).unlink(missing_ok=True)
        if self._shared is not None:
            self._shared.remove(f"{self._name}/{name}")

    def _made(self) -> Path:
        return self._artefacts.made(self._name)

    def _disk_errors(self) -> AbstractContextManager[None]:
        advice = "Check the artefact folder and the disk."
        return disk_errors(StoreError, f"{self.folder}: cannot be written", advice)


def results_folder(campaign: str) -> str:
    """The name of the folder of a campaign's results."""
    return f".work/results-{campaign}"


def _is_whole(path: Path) -> bool:
    """Return whether a file is there and has the content that its name says."""
    try:
        return sha256_of(path).startswith(path.name.split(".")[1])
    except OSError:
        return False


def joined(parts: Sequence[Result], groups: Sequence[Sequence[int]] | None = None) -> Result:
    """The results of a call that was split, as one.

    Args:
        parts: The results.
        groups: The positions of each part's items; None if all parts have all items, with some samples each.
    """
    if len(parts) == 1:
        return parts[0]
    if groups is None:
        predictions = [part for part in parts if isinstance(part, Predictions)]
        log_probs_N_K_C = np.concatenate([part.log_probs_N_K_C for part in predictions], axis=1)
        return Predictions(predictions[0].item_ids, log_probs_N_K_C, predictions[0].answers)
    order_N = np.argsort(np.concatenate(groups))
    if isinstance(parts[0], np.ndarray):
        joined_N_d: Float32Array = np.concatenate(_any(parts))[order_N]
        return joined_N_d
    if isinstance(parts[0], list):
        found = [one for part in parts for one in _any(part)]
        return [found[place] for place in order_N]
    return _in_order([part for part in parts if isinstance(part, Predictions)], order_N)


def _in_order(parts: Sequence[Predictions], order_N: npt.NDArray[np.intp]) -> Predictions:
    """Predictions of different items as one, the columns padded as one call pads them."""
    width = max(part.log_probs_N_K_C.shape[2] for part in parts)
    padded = [
        np.pad(
            part.log_probs_N_K_C,
            ((0, 0), (0, 0), (0, width - part.log_probs_N_K_C.shape[2])),
            constant_values=-np.inf,
        )
        for part in parts
    ]
    item_ids = [item_id for part in parts for item_id in part.item_ids]
    answers = max((part.answers for part in parts), key=lambda answers: len(answers[0]))
    log_probs_N_K_C = np.concatenate(padded)[order_N]
    return Predictions(tuple(item_ids[place] for place in order_N), log_probs_N_K_C, answers)


def _packed(result: Result) -> tuple[JsonObject, _Arrays]:
    if isinstance(result, np.ndarray):
        return {"kind": "array"}, {"array": result}
    if isinstance(result, list):
        return _packed_base(result)
    if isinstance(result, dict):
        return {"kind": "files"}, {
            f"file.{name}": np.frombuffer(content, np.uint8) for name, content in result.items()
        }
    header: JsonObject = {
        "kind": "predictions",
        "item_ids": list(result.item_ids),
        "answers": [list(answers) for answers in result.answers],
        "open_ended": result.open_ended,
    }
    signals = {f"signal.{name}": values_N for name, values_N in result.signals.items()}
    return header, {"log_probs": result.log_probs_N_K_C, **signals}


def _unpacked(header: JsonObject, arrays: Mapping[str, npt.NDArray[Any]]) -> Result:
    if header["kind"] == "array":
        return arrays["array"]
    if header["kind"] == "files":
        return {name.removeprefix("file."): content.tobytes() for name, content in arrays.items()}
    if header["kind"] == "base":
        return _unpacked_base(header, arrays)
    return Predictions(
        item_ids=tuple(_texts(header["item_ids"])),
        log_probs_N_K_C=arrays["log_probs"],
        answers=tuple(map(tuple, _lists(header["answers"]))),
        open_ended=bool(header["open_ended"]),
        signals={name.removeprefix("signal."): arrays[name] for name in arrays if name.startswith("signal.")},
    )


def _packed_base(found: Sequence[BasePrediction]) -> tuple[JsonObject, _Arrays]:
    header: JsonObject = {
        "kind": "base",
        "item_ids": [one.item_id for one in found],
        "widths": [len(one.log_probs_C) for one in found],
        "prior_widths": [None if one.log_prior_C is None else len(one.log_prior_C) for one in found],
        "answers": [list(one.answers) for one in found],
        "uncertainties": [one.uncertainty for one in found],
    }
    priors = [one.log_prior_C for one in found if one.log_prior_C is not None]
    return header, {"rows": _flat([one.log_probs_C for one in found]), "priors": _flat(priors)}


def _unpacked_base(header: JsonObject, arrays: Mapping[str, npt.NDArray[Any]]) -> list[BasePrediction]:
    rows, priors = _Reader(arrays["rows"]), _Reader(arrays["priors"])
    columns = (header[name] for name in ("item_ids", "widths", "prior_widths", "answers", "uncertainties"))
    return [
        BasePrediction(
            item_id=item_id,
            log_probs_C=rows.take(width),
            log_prior_C=None if prior_width is None else priors.take(prior_width),
            answers=tuple(answers),
            uncertainty=uncertainty,
        )
        for item_id, width, prior_width, answers, uncertainty in zip(*map(_any, columns), strict=True)
    ]


class _Reader:
    """Takes rows from an array in which they lie one after another."""

    def __init__(self, flat: FloatArray) -> None:
        self._flat, self._place = flat, 0

    def take(self, n: int) -> FloatArray:
        """The next n numbers."""
        self._place += n
        return self._flat[self._place - n : self._place].copy()


def _flat(rows: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate(rows) if rows else np.zeros(0)


def _texts(value: JsonValue) -> list[str]:
    return [str(each) for each in _any(value)]


def _lists(value: JsonValue) -> list[list[JsonValue]]:
    return [list(each) for each in _any(value)]


def _any(value: Any) -> Any:
    """A part of a header, whose form ``_packed`` decides."""
    return value
