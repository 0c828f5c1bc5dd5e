"""Measures the particle check on any Korean text: what it names as it is, and how many planted errors it finds.

    python dev/measure_particles.py texts.txt [more.txt ...]  [--every 1] [--shown 40]

A file has one text a line. Each text is checked as it is; what is named there is printed, to be judged by a reader: a
false alarm, or a fault of the text. Then one particle of each text (kiwipiepy says what is one; the seed is fixed) is
exchanged for its partner, 은 for 는 and 이라고 for 라고, and it is counted how often the exchange is named.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kiwipiepy import Kiwi

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kotune.korean.particles import PARTNER, particle_errors

SWAP = PARTNER | {form + tail: PARTNER[form] + tail for form in ("으로", "로") for tail in ("서", "써")}
SEED = 20240101


class Place(NamedTuple):
    """Where a particle stands: text[start:end]."""

    start: int
    end: int


def particles_in(text: str, tokens: Sequence) -> Iterator[Place]:
    """Yield the particles of a text that have a partner, by an analysis of it."""
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        start, end = token.start, token.start + token.len
        if token.tag == "VCP" and following is not None and following.tag in ("EC", "ETM", "EF"):
            end = max(end, following.start + following.len)
        elif not token.tag.startswith("J"):
            continue
        inside_word = following is not None and following.start == end and following.tag[0] not in "JSW"
        after_word = start and re.match("[가-힣0-9]", text[start - 1])  # behind a mark or code none can say how it is read
        if after_word and text[start:end] in SWAP and not inside_word and text[end : end + 1] != "(":
            yield Place(start, end)


def measure(texts: Sequence[str], shown: int) -> None:
    """Print what is named in texts as they are, and the share of planted errors that is found, particle by particle."""
    named = [(text, error) for text in texts for error in particle_errors(text)]
    print(f"{len(texts)} texts, {sum(map(len, texts)):,} characters; named as they are: {len(named)}")
    for text, error in named[:shown]:
        around = text[max(0, error.start - 25) : error.end + 15]
        print(f"  {error.found} -> {error.right}   | {around}")
    rng = random.Random(SEED)
    planted, found, missed = Counter(), Counter(), []
    for text, tokens in zip(texts, Kiwi().tokenize(texts), strict=True):
        places = list(particles_in(text, tokens))
        if not places:
            continue
        place = rng.choice(places)
        right = text[place.start : place.end]
        broken = text[: place.start] + SWAP[right] + text[place.end :]
        end = place.start + len(SWAP[right])
        hit = any(error.start <= place.start and error.end >= end for error in particle_errors(broken))
        planted[right] += 1
        found[right] += hit
        if not hit:
            missed.append(broken[max(0, place.start - 15) : end + 10])
    total = sum(planted.values())
    print(f"planted {total}, found {sum(found.values())} ({sum(found.values()) / max(total, 1):.1%})")
    print("  " + ", ".join(f"{right} {found[right]}/{n}" for right, n in planted.most_common()))
    for line in missed[:shown]:
        print("  missed: " + line)


def main() -> None:
    """Read the files of the command line and measure on all of their lines together."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--shown", type=int, default=40, help="lines printed of what is named, and of what is missed")
    chosen = parser.parse_args()
    texts = [line for path in chosen.files for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    measure(texts, chosen.shown)


if __name__ == "__main__":
    main()
