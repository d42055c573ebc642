"""Data in, data out: files and `datasets` → items with content-hash ids; items with labels → files."""

from star_al.data.export import ModelAnswer, export_rows, write_rows
from star_al.data.items import ImportCounts, parse_answer, read_items, read_texts
from star_al.data.readers import Row, read_rows
from star_al.data.source import DataSource, Table, data_source, locate, test_source

__all__ = [
    "DataSource",
    "ImportCounts",
    "ModelAnswer",
    "Row",
    "Table",
    "data_source",
    "export_rows",
    "locate",
    "parse_answer",
    "read_items",
    "read_rows",
    "read_texts",
    "test_source",
    "write_rows",
]
