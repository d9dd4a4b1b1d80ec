"""``edge-occ reproduce``: the tables of the papers, with the paper's figures next to ours."""

from __future__ import annotations

from trainer.reproduce import cutpaste, two_stage
from trainer.reproduce.table import PaperTable, check_known

TABLES = {table.name: table for table in (*cutpaste.TABLES, *two_stage.TABLES)}


def find_table(name: str) -> PaperTable:
    """A table by its name.

    Raises:
        InputError: no such table; the known ones are listed.
    """
    check_known("table", name, list(TABLES), "edge-occ reproduce TABLE")
    return TABLES[name]
