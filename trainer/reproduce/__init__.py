"""``edge-occ reproduce``: tables of decisions, and those of the papers, with the paper's figures next to ours."""

from __future__ import annotations

from trainer.reproduce import cutpaste, decisions, two_stage
from trainer.reproduce.table import PaperTable, check_known

TABLES = {table.name: table for table in (*decisions.TABLES, *cutpaste.TABLES, *two_stage.TABLES)}


def find_table(name: str) -> PaperTable:
    """Return a table by its name.

    Raises:
        InputError: the name is unknown; the message lists the known ones.
    """
    check_known("table", name, list(TABLES), "edge-occ reproduce TABLE")
    return TABLES[name]
