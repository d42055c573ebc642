"""Read a user's data for the first time, say how the file was taken, and keep that for the campaign file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pydantic import ValidationError

from star_al.app.init.guessing import header_doubt
from star_al.app.init.questions import Ask
from star_al.app.init.request import CampaignRequest
from star_al.config.spec import DataSpec
from star_al.data.columns import Profile, profile
from star_al.data.dialects import TextForm, text_form, usual_delimiter
from star_al.data.source import TEXT_FORMATS, Dialect, Table, locate_here
from star_al.data.table_rows import other_sheets, unnamed_columns
from star_al.data.text_files import UTF_8, UTF_8_MARKED
from star_al.errors import ConfigError


def read_data(
    request: CampaignRequest, say: Callable[[str], None], ask: Ask | None
) -> tuple[CampaignRequest, TextForm | None, Profile]:
    """Read the data; where its first row looks like data, ask whether it is a header."""
    dialect = _dialect(request)
    table = locate_here(request.data, subset=request.subset, split=request.split, dialect=dialect)
    form = text_form(table) if table.format in TEXT_FORMATS else None
    data = profile(table)
    doubt = header_doubt(data) if request.header is None else ""
    if doubt and ask is not None and not ask.confirm(f"{doubt} Is it a header?", default=False):
        return read_data(replace(request, header=False), say, ask)
    if doubt and ask is None:
        doubt += " If the file has no header, use --no-header."
        say(doubt)
    for note in (*([form.doubt] if form and form.doubt else []), *_unnamed_note(table), *_sheets_note(table)):
        say(note)
    request = _with_column_names(request)
    named = [request.label_column, *text_columns_of(request, data), request.id_column, *request.options]
    data.require(*(name for name in named if name is not None))
    return request, form, data


def text_columns_of(request: CampaignRequest, data: Profile) -> list[str]:
    """The columns that the user names for the text; several only if no column has the whole name."""
    named = request.text_column
    if named is None or named in data.columns or "," not in named:
        return [] if named is None else [named]
    return [name.strip() for name in named.split(",") if name.strip()]


def _dialect(request: CampaignRequest) -> Dialect:
    """What the user says about how the file is written.

    Raises:
        ConfigError: It is not valid.
    """
    try:
        data = DataSpec(path=request.data, delimiter=request.delimiter, encoding=request.encoding)
    except ValidationError as exc:
        reasons = "; ".join(error["msg"].removeprefix("Value error, ") for error in exc.errors())
        raise ConfigError(f"{reasons}.") from exc
    return Dialect(data.delimiter, data.encoding, request.header is not False, request.quotes)


def _unnamed_note(table: Table) -> list[str]:
    numbers = unnamed_columns(table)
    if not numbers:
        return []
    listed = f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
    return [
        f"{table.name}: columns {listed} have no name. Their empty cells are left out; other cells are kept as "
        f"column_{numbers[0]} and so on."
    ]


def _sheets_note(table: Table) -> list[str]:
    others = other_sheets(table)
    return [f"{table.name}: only the first sheet is read, not {', '.join(others[:5])}."] if others else []


def _with_column_names(request: CampaignRequest) -> CampaignRequest:
    """Without a header, the number of a column names it too."""
    if request.header is not False:
        return request

    def named(columns: str | None) -> str | None:
        if columns is None:
            return None
        return ",".join(f"column_{each}" if each.isdecimal() else each for each in columns.split(","))

    return replace(
        request,
        label_column=named(request.label_column),
        text_column=named(request.text_column),
        id_column=named(request.id_column),
        options=[named(column) or column for column in request.options],
    )


def form_settings(request: CampaignRequest, table: Table, form: TextForm | None) -> dict[str, object]:
    """The settings of ``data`` that make a run read the file as it was read here."""
    settings: dict[str, object] = {"header": table.dialect.header}
    if form is None:
        return settings
    if form.delimiter and (request.delimiter or form.delimiter != usual_delimiter(table)):
        settings["delimiter"] = form.delimiter
    if request.encoding or form.encoding not in (UTF_8, UTF_8_MARKED):
        settings["encoding"] = form.encoding
    if request.quotes is not None or (form.delimiter == "\t" and form.has_quotation_marks):
        settings["quotes"] = form.quotes
    return settings
