"""Some of the solar cells of elpv-dataset, as decoding all 2,624 takes seconds."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path


def table_of_cells(folder: Path, keep: Callable[[int, list[str]], bool]) -> str:
    """A table for the package's ``load_dataset``: of the lines (path, probability, kind) for which ``keep`` is true.

    The package takes pictures from beside the table.
    """
    package = find_spec("elpv_dataset")
    assert package is not None
    assert package.origin is not None
    data = Path(package.origin).parent / "data"
    lines = (data / "labels.csv").read_text().splitlines()
    kept = [line for number, line in enumerate(lines) if keep(number, line.split())]
    folder.mkdir(exist_ok=True)
    (folder / "images").symlink_to(data / "images")
    (folder / "labels.csv").write_text("\n".join(kept) + "\n")
    return str(folder / "labels.csv")
