"""Progress of the run of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trainer.reproduce.budget import Budget
from trainer.reproduce.cells import Cell, Store


class Progress:
    """Messages about the cells of a table: the number of one, the time that has passed, the time that is left.

    Args:
        cells: of the table.
        store: results so far.
        budget: knows the time that has passed.
        say: called with each message.

    Attributes:
        to_do: cells without a result at the start.
    """

    def __init__(self, cells: Sequence[Cell], store: Store, budget: Budget, say: Callable[[str], None]) -> None:
        self._total, self._store, self._budget, self._say = len(cells), store, budget, say
        self._cells = cells
        done = [cell for cell in cells if store.result(cell)]
        self.to_do = [cell for cell in cells if cell not in done]
        if done:
            say(f"{len(done)} of {len(cells)} cells are already done")

    def announce(self, cell: Cell) -> None:
        """Announce the next cell."""
        number = self._total - len(self.to_do) + self.to_do.index(cell) + 1
        self._say(
            f"cell {number} of {self._total}: {cell}; {minutes(self._budget.elapsed)} elapsed, {self._left(cell)}"
        )

    def _left(self, cell: Cell) -> str:
        """Estimate the remaining time from the finished cells of the same rows."""
        seconds: dict[str, list[float]] = {}
        for each in self._cells:
            if (result := self._store.result(each)) is not None:
                seconds.setdefault(each.row.name, []).append(result.seconds)
        means = {name: sum(values) / len(values) for name, values in seconds.items()}
        coming = self.to_do[self.to_do.index(cell) :]
        known = [means[each.row.name] for each in coming if each.row.name in means]
        if len(known) == len(coming):
            return f"about {minutes(sum(known))} left"
        return f"at least {minutes(sum(known))} left" if known else "time left unknown"


def minutes(seconds: float) -> str:
    """Format a duration in minutes."""
    return f"{seconds / 60:.1f} min"
