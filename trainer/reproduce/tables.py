"""All tables by name; a further paper adds a tuple of its own."""

from __future__ import annotations

from trainer.reproduce import cutpaste, two_stage
from trainer.reproduce.table import Table, check_known

TABLES = {table.name: table for table in (*cutpaste.TABLES, *two_stage.TABLES)}


def find_table(name: str) -> Table:
    """A table by its name.

    Raises:
        InputError: no such table; the known ones are listed.
    """
    check_known("table", name, list(TABLES), "edge-occ reproduce TABLE")
    return TABLES[name]
