"""Put the figures into the markdown cells that `assets/figures/places.yaml` names: `python dev/place_figures.py`.

A figure that stands in its cell already stays where it is. No other cell, and no output, changes.
"""

import sys
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
    for row in yaml.safe_load(read_text(ASSETS / "figures" / "places.yaml")):
        for where in row["places"]:
            file = folder / where["notebook"]
            notebook = nbformat.reads(read_text(file), as_version=4)
            cell = next((cell for cell in notebook.cells if cell.id == where["cell"]), None)
            if cell is None or cell.cell_type != "markdown":
                raise CourseError(
                    f"{file.name} has no markdown cell {where['cell']} for the figure {row['figure']}; "
                    "name another in dev/figures/texts.yaml."
                )
            if row["files"][language] in cell.source:
                continue
            blocks = cell.source.split("\n\n")
            blocks.insert(where["paragraph"] or len(blocks), f"![{row['alt'][language]}]({row['files'][language]})")
            cell.source = "\n\n".join(blocks)
            write_atomic(file, nbformat.writes(notebook) + "\n")


if __name__ == "__main__":
    place(ROOT, "en")
