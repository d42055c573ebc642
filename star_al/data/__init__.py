"""Data in and out: files and `datasets` → items with content-hash ids; items with labels → files."""

from star_al.data.export import ModelAnswer, check_suffix, export_rows, write_rows
from star_al.data.items import ImportCounts, parse_answer, read_items, read_texts
from star_al.data.out_files import check_out, writable_target, write_text
from star_al.data.readers import Row, read_rows
from star_al.data.source import DataSource, Table, data_source, locate, locate_here, source_of, test_source

__all__ = [
    "DataSource",
    "ImportCounts",
    "ModelAnswer",
    "Row",
    "Table",
    "check_out",
    "check_suffix",
    "data_source",
    "export_rows",
    "locate",
    "locate_here",
    "parse_answer",
    "read_items",
    "read_rows",
    "read_texts",
    "source_of",
    "test_source",
    "writable_target",
    "write_rows",
    "write_text",
]
