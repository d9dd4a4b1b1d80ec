"""``edge-occ reproduce``: the tables of the papers, with the paper's figures next to ours."""

from __future__ import annotations

from trainer.reproduce import cutpaste, two_stage
from trainer.reproduce.table import PaperTable, check_known

TABLES = {table.name: table for table in (*cutpaste.TABLES, *two_stage.TABLES)}


def find_table(name: str) -> PaperTable:
    """Return a table by its name.

    Raises:
        InputError: the name is unknown; the message lists the known ones.
    """
    check_known("table", name, list(TABLES), "edge-occ reproduce TABLE")
    return TABLES[name]
