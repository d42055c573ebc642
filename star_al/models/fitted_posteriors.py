"""Load fitted posteriors from their artefact folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from star_al.errors import ModelError
from star_al.models.adapter_record import read_record
from star_al.models.classifier import Classifier, load_classifier
from star_al.models.posterior import Method, Posterior

FORMAT = 1
"""Version of what base predictions and adapters mean. A change invalidates all that are stored."""


@dataclass(frozen=True)
class Fitted:
    """What an artefact holds.

    Attributes:
        posterior: The posterior; ``None`` stands for the base model.
        classifier: The classifier that is read in place of the labels' words, if there is one.
    """

    posterior: Posterior | None = None
    classifier: Classifier | None = None


class FittedPosteriors:
    """Posteriors that a method has fitted to a model; the last one stays loaded.

    A pool is scored in many pieces, and loading may take long: TFB decomposes every layer.

    Args:
        method: Reads the artefacts.
        kind: The ``posterior.kind`` that they must have.
        model_key: The model, prompt and labels that they must have been trained for.
    """

    def __init__(self, method: Method, kind: str, model_key: str) -> None:
        self._method, self._kind, self._model_key = method, kind, model_key
        self._loaded: tuple[tuple[object, ...], Fitted] | None = None

    def load(self, folder: Path | None) -> Fitted:
        """Return what is in ``folder``; without a folder, nothing but the base model.

        Raises:
            ModelError: It is damaged, of another kind, or was trained for another model, prompt or label set.
        """
        if folder is None:
            return Fitted()
        files = {path: path.stat() for path in sorted(folder.rglob("*"))}
        key = tuple((path, stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in files.items())
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # first, so that two posteriors need not fit into memory
            self._loaded = key, self._read(folder)
        return self._loaded[1]

    def _read(self, folder: Path) -> Fitted:
        record = read_record(folder)
        if record.get("kind") != self._kind or record.get("format") != FORMAT:
            raise ModelError(
                f"{folder}: an adapter of kind {record.get('kind')!r}, format {record.get('format')!r}; "
                f"this campaign reads kind {self._kind!r}, format {FORMAT}."
            )
        if record.get("model_key") != self._model_key:
            raise ModelError(
                f"{folder}: the adapter was trained with another base model, prompt or label set. "
                "Use the campaign's own config and model. If an earlier version of star_al trained it, "
                "`star-al run` trains the next round for this version."
            )
        return Fitted(self._method.load(folder, record), load_classifier(folder, record))
