"""Statements that copy the rows of a few orders under other ids and at other times.

Owns: which columns hold ids and times, and how a copy's are made. Must not know: which tables, how many copies.

An id of version 7 begins with its time, 12 hexadecimal digits; a copy's begins with the copy's (``slot``), wherever it
is mentioned. Other ids get 12 digits that depend on both. The rest of an id stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

SCHEMA = "bench"
_ID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_OF_ORDER = ("order_id", "aggregate_id", "object_id")

COLUMNS = """
select attname, format_type(atttypid, null) from pg_attribute
where attrelid = cast(%s as regclass) and attnum > 0 and not attisdropped and attidentity = '' and attgenerated = ''
order by attnum
"""


@dataclass(frozen=True, kw_only=True)
class Column:
    """``kind``: plain, time, json, id, or text: one that ends in an id."""

    name: str
    type: str
    kind: str


def look_statement(column: str, table: str, rows: str) -> str:
    """How many values there are, and how many of them end in an id."""
    return f"""
    select count({column}), count(*) filter (where {column}::text ~ '{_ID}$') from {table} where {rows}"""  # noqa: S608


def kind_of(type_: str, values: int, ids: int) -> str:
    """From a column's type and what :func:`look_statement` found."""
    if type_.startswith("timestamp"):
        return "time"
    if type_ in ("json", "jsonb"):
        return "json"
    if type_ not in ("uuid", "text") or not values or ids != values:
        return "plain"
    return "id" if type_ == "uuid" else "text"


def template_statement(table: str, rows: str, columns: list[Column]) -> str:
    """The rows to be copied, with the constant parts of their ids beside them."""
    parts = [part for column in columns if column.kind in ("id", "text") for part in _id_parts(column.name)]
    return f"create table {SCHEMA}.{table} as select {', '.join(['*', *parts])} from {table} where {rows}"  # noqa: S608


def _id_parts(name: str) -> tuple[str, ...]:
    return (
        f"right(replace({name}::text, '-', ''), 20) as {name}__rest",
        f"left({name}::text, -36) as {name}__head",
        f"substr(right({name}::text, 36), 15, 1) = '7' as {name}__timed",
    )


def copy_statement(table: str, columns: list[Column], marks: Mapping[str, str], instead: Mapping[str, str]) -> str:
    """``marks`` are the placeholders of the two parameters: slot (text), back (interval).

    ``instead`` gives columns a value of their own.
    """
    names = ", ".join(column.name for column in columns)
    values = ", ".join(instead.get(column.name) or value(column, columns, marks) for column in columns)
    return f"insert into {table} ({names}) select {values} from {SCHEMA}.{table}"  # noqa: S608


def value(column: Column, columns: list[Column], marks: Mapping[str, str]) -> str:
    """What a copy has in this column, as SQL."""
    if column.kind == "time":
        return f"{column.name} - cast({marks['back']} as interval)"
    if column.kind == "json":
        return _document(column, columns, marks)
    if column.kind == "text":
        return f"{column.name}__head || {_id(column, marks)}::text"
    if column.kind == "id":
        return _id(column, marks)
    return column.name


def _id(column: Column, marks: Mapping[str, str]) -> str:
    slot, rest = f"cast({marks['slot']} as text)", f"{column.name}__rest"
    start = f"case when {column.name}__timed then {slot} else left(md5({slot} || {rest}), 12) end"
    return f"({start} || {rest})::uuid"


def _document(column: Column, columns: list[Column], marks: Mapping[str, str]) -> str:
    """With the copy's order id instead of the order's, where the row says which one it is."""
    of_order = next((c for c in columns if c.name in _OF_ORDER), None)
    if of_order is None:
        return column.name
    replaced = f"replace({column.name}::text, {of_order.name}::text, {_id(of_order, marks)}::text)"
    return f"{replaced}::{column.type}"


def parameters(*, newest_ms: int, number: int, step: timedelta) -> dict[str, str]:
    """Of copy ``number``, which is that many steps older than what it is a copy of."""
    back_ms = round(number * step / timedelta(milliseconds=1))
    return {"slot": f"{newest_ms - back_ms:012x}", "back": f"{back_ms} milliseconds"}
