"""Draw the figures of the lessons into assets/figures/, in both languages: `python dev/draw_figures.py`.

Their words stand in `dev/figures/texts.yaml`, how each is drawn in `dev/figures/drawings.py`, what they state in
`dev/figures/facts.json`, which `python dev/draw_figures.py --facts` works out anew. Also writes
`assets/figures/places.yaml`: where each figure stands in the lessons, and the text for those who do not see it;
`python dev/place_figures.py` then puts the figures into the notebooks.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dev.figures import facts, words
from dev.figures.drawings import DRAWINGS
from utils import ASSETS, write_atomic, write_json

FOLDER = ASSETS / "figures"


def files() -> dict[str, str]:
    """Return the text of every file of the folder, by name."""
    known = facts.load()
    drawn = {
        f"{name}.{language}.svg": draw(words.of(name, language), known).svg()
        for name, draw in DRAWINGS.items()
        for language in words.LANGUAGES
    }
    return drawn | {"places.yaml": words.places()}


def main() -> None:
    """Write the figures, after the facts where that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--facts", action="store_true", help="work the facts out anew (needs the packaged model)")
    if parser.parse_args().facts:
        write_json(facts.FILE, facts.work_out())
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        write_atomic(FOLDER / name, text)


if __name__ == "__main__":
    main()
