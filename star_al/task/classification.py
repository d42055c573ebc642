"""Classification: a label value is the label's name."""

from __future__ import annotations

from collections.abc import Sequence

from star_al.config.spec import ClassificationSpec, normalise_label
from star_al.task.closed import ClosedTask, name_of
from star_al.types import Item, JsonValue


class Classification(ClosedTask):
    """Every item has the labels of the task. A value may be spelled as an earlier name of a label too."""

    def __init__(self, spec: ClassificationSpec) -> None:
        self.spec = spec
        self._wordings = {label.name: label.verbaliser or label.name for label in spec.labels}
        self._columns = {normalise_label(name): column for column, name in enumerate(spec.label_names)}
        for old in spec.renamed:
            self._columns[normalise_label(old)] = self._columns[normalise_label(spec.newest_name(old))]

    def spell(self, item: Item, value: JsonValue) -> str:
        """Return the label's wording for the model, or its name."""
        return self._wordings[str(self.value(item, self.column(item, value)))]

    def _names(self, options: Sequence[str]) -> tuple[str, ...]:
        return self.spec.label_names

    def _column(self, options: Sequence[str], value: JsonValue) -> int | None:
        name = name_of(value)
        return None if name is None else self._columns.get(normalise_label(name))
