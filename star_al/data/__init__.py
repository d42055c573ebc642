"""Data in and out: files and `datasets` → items with content-hash ids; items with labels → files."""

from star_al.data.dialects import reading_note
from star_al.data.export import (
    UNKNOWN,
    ExportColumns,
    GivenAnswer,
    Known,
    ModelAnswer,
    options_found,
)
from star_al.data.import_notes import import_notes
from star_al.data.item_labels import parse_answer
from star_al.data.item_reader import ImportCounts, SourceRow
from star_al.data.items import read_items, read_source_rows, without_labels
from star_al.data.out_files import check_out, writable_target, write_text
from star_al.data.out_formats import OutOptions, check_format, write_rows
from star_al.data.readers import read_rows
from star_al.data.rows import Row
from star_al.data.source import (
    DataSource,
    Dialect,
    Table,
    data_source,
    locate,
    locate_here,
    similar_dialect,
    source_of,
    test_source,
)

__all__ = [
    "UNKNOWN",
    "DataSource",
    "Dialect",
    "ExportColumns",
    "GivenAnswer",
    "ImportCounts",
    "Known",
    "ModelAnswer",
    "OutOptions",
    "Row",
    "SourceRow",
    "Table",
    "check_format",
    "check_out",
    "data_source",
    "import_notes",
    "locate",
    "locate_here",
    "options_found",
    "parse_answer",
    "read_items",
    "read_rows",
    "read_source_rows",
    "reading_note",
    "similar_dialect",
    "source_of",
    "test_source",
    "without_labels",
    "writable_target",
    "write_rows",
    "write_text",
]
