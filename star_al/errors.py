"""Every error a user can meet, and the exit code that goes with it.

    StarALError                  1
    ├── ConfigError              2   the campaign file
    ├── DataError                2   rows, labels, annotations
    ├── StoreError               3   database, artefact folder
    │   ├── SchemaError          3   the database is at another schema version
    │   ├── LeaseHeldError       3   another controller runs the campaign
    │   └── LeaseLostError       3   another controller took the campaign over
    ├── AnnotatorError           4   the annotation tool
    │   └── AwayError            4   it does not answer; who waits for people may wait for it, too
    └── ModelError               5   model, adapter, training, scoring
        └── OutOfMemoryError     5   it would work with more memory, or with less at once

A message says what happened, to which input, and what to do next. Errors of libraries are translated
where they enter (``raise DataError(...) from exc``), so that only these reach the command line.
"""


class StarALError(Exception):
    """Root of the tree; ``exit_code`` is what the command line returns."""

    exit_code = 1


class ConfigError(StarALError):
    """A campaign file that cannot be read, is not valid, or changes what a running campaign fixes."""

    exit_code = 2


class DataError(StarALError):
    """A data file, row, label or annotation that cannot be used."""

    exit_code = 2


class StoreError(StarALError):
    """The database or the artefact folder cannot be read or written."""

    exit_code = 3


class SchemaError(StoreError):
    """The database is at a schema version this program does not work with."""


class LeaseHeldError(StoreError):
    """Another living controller holds the campaign."""


class LeaseLostError(StoreError):
    """This controller's epoch is over: another one has taken the campaign, nothing was written."""


class AnnotatorError(StarALError):
    """The annotation tool cannot be reached or answers what it should not."""

    exit_code = 4


class AwayError(AnnotatorError):
    """The annotation tool cannot be reached for now, or does not answer as it should."""


class ModelError(StarALError):
    """A model or an adapter cannot be loaded, trained or evaluated."""

    exit_code = 5


class OutOfMemoryError(ModelError):
    """It does not fit into the memory of its device."""
