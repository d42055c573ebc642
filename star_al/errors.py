"""Every error a user can meet, and the exit code that goes with it.

    StarALError                  1
    ├── ConfigError              2   the campaign file
    ├── DataError                2   rows, labels, annotations
    ├── StoreError               3   database, artefact folder
    │   ├── SchemaError          3   the database is at another schema version
    │   ├── LeaseHeldError       3   another controller runs the campaign
    │   └── LeaseLostError       3   another controller took the campaign over
    ├── ClusterError             3   the cluster that the settings name
    ├── AnnotatorError           4   the annotation tool
    │   └── AwayError            4   it does not answer now; a run that waits for people waits for it, too
    ├── ModelError               5   model, adapter, training, scoring
    │   ├── NotFiniteError       5   an answer is NaN or infinite
    │   └── OutOfMemoryError     5   more memory would help, or less work at once
    └── HubError                 7   the Hugging Face hub, when something is pushed to it

A message says what happened, to which input, and what to do next. Errors of libraries are translated
where they enter (``raise DataError(...) from exc``), so that only these reach the command line.
"""


class StarALError(Exception):
    """Root of the tree; the command line returns ``exit_code``."""

    exit_code = 1


class ConfigError(StarALError):
    """A campaign file cannot be read, is not valid, or changes a setting that a started campaign must keep."""

    exit_code = 2


class DataError(StarALError):
    """A data file, row, label or annotation cannot be used."""

    exit_code = 2


class StoreError(StarALError):
    """The database or the artefact folder cannot be read or written."""

    exit_code = 3


class SchemaError(StoreError):
    """The database is at a schema version that this program does not work with."""


class LeaseHeldError(StoreError):
    """Another controller holds the campaign's lease."""


class LeaseLostError(StoreError):
    """Another controller has taken the campaign over; nothing was written."""


class ClusterError(StarALError):
    """The cluster that the settings name cannot be reached, or its workers cannot work."""

    exit_code = 3


class AnnotatorError(StarALError):
    """The annotation tool cannot be reached, or it answers with something unexpected."""

    exit_code = 4


class AwayError(AnnotatorError):
    """The annotation tool does not answer now, but may later."""


class ModelError(StarALError):
    """A model or an adapter cannot be loaded, trained or evaluated."""

    exit_code = 5


class NotFiniteError(ModelError):
    """The model's answer to a text is NaN or infinite."""


class OutOfMemoryError(ModelError):
    """Training or scoring does not fit into the memory of its device."""


class HubError(StarALError):
    """The Hugging Face hub cannot be reached, or refuses what is pushed to it."""

    exit_code = 7
