"""Takes the indexes of tables away and brings them back as they were: rows go in many times faster meanwhile.

Owns: what has to be dropped and in which order it is made again. Must not know: which rows are inserted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Keys of other tables that point here go with the keys that they point to.
_FOREIGN = """
select conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) from pg_constraint
where contype = 'f'
  and (conrelid = any(cast(%(tables)s as regclass[])) or confrelid = any(cast(%(tables)s as regclass[])))
"""
_KEYS = """
select c.conrelid::regclass::text, quote_ident(c.conname), c.contype, pg_get_indexdef(c.conindid)
from pg_constraint c where c.contype in ('p', 'u') and c.conrelid = any(cast(%(tables)s as regclass[]))
"""
_INDEXES = """
select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) from pg_index i
where i.indrelid = any(cast(%(tables)s as regclass[]))
  and not exists (select 1 from pg_constraint c where c.conindid = i.indexrelid)
"""


# The audit log is sealed: it belongs to somebody else, and keeps its indexes.
_OWN = """
select c.oid::regclass::text from pg_class c
where c.oid = any(cast(%(tables)s as regclass[])) and c.relowner = cast(current_user as regrole)
"""


@contextmanager
def without_indexes(cursor: Any, tables: Sequence[str]) -> Iterator[None]:
    """Drop all indexes and keys of our own ``tables`` for the block; nobody else may use them meanwhile."""
    tables = [name for (name,) in _found(cursor, _OWN, tables)]
    drops, makes = [], []
    for table, name, definition in _found(cursor, _FOREIGN, tables):
        drops.append(f"alter table {table} drop constraint {name}")
        makes.append(f"alter table {table} add constraint {name} {definition}")
    for table, name, kind, definition in _found(cursor, _KEYS, tables):
        drops.append(f"alter table {table} drop constraint {name}")
        word = "primary key" if kind == "p" else "unique"
        # By way of its index: only that says how the index was made.
        makes[:0] = [definition, f"alter table {table} add constraint {name} {word} using index {name}"]
    for name, definition in _found(cursor, _INDEXES, tables):
        drops.append(f"drop index {name}")
        makes.insert(0, definition)
    _run(cursor, drops)
    yield
    _run(cursor, makes)


def _found(cursor: Any, statement: str, tables: Sequence[str]) -> list[tuple[str, ...]]:
    cursor.execute(statement, {"tables": list(tables)})
    return list(cursor.fetchall())


def _run(cursor: Any, statements: Sequence[str]) -> None:
    for statement in statements:
        cursor.execute(statement)
