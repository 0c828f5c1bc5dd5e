"""Put the figures into the markdown cells that `assets/figures/places.yaml` names: `python dev/place_figures.py`.

A figure that stands in its cell already stays where it is. No other cell, and no output, changes.
"""

import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nbformat
import yaml

from utils import ASSETS, ROOT, CourseError, read_text, write_atomic


def place(folder: Path, language: str) -> None:
    """Put each figure of a language into the notebooks of a folder.

    Raises:
        CourseError: a cell is not there, or is no markdown cell.
    """
    wanted = defaultdict(list)
    for row in yaml.safe_load(read_text(ASSETS / "figures" / "places.yaml")):
        for where in row["places"]:
            wanted[where["notebook"]].append((row, where))
    for name, figures in wanted.items():
        notebook = nbformat.reads(read_text(folder / name), as_version=4)
        cells = {cell.id: cell for cell in notebook.cells if cell.cell_type == "markdown"}
        changed = False
        for row, where in figures:
            if where["cell"] not in cells:
                raise CourseError(
                    f"{name} has no markdown cell {where['cell']} for the figure {row['figure']}; "
                    "name another in dev/figures/texts.yaml and draw the figures again."
                )
            cell, file = cells[where["cell"]], row["files"][language]
            if file not in cell.source:
                blocks = cell.source.split("\n\n")
                blocks.insert(where["paragraph"] or len(blocks), f"![{row['alt'][language]}]({file})")
                cell.source, changed = "\n\n".join(blocks), True
        if changed:
            write_atomic(folder / name, nbformat.writes(notebook) + "\n")


if __name__ == "__main__":
    place(ROOT, "en")
