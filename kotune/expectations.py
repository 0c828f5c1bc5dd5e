"""What a lesson says of its results, held against the run at hand."""

from __future__ import annotations


def expect(holds: bool, claim: str) -> None:
    """Print whether a claim of the lesson holds in this run; with other data or settings it may not, and nothing breaks.

    The stored notebooks hold the first form, so that `pytest --nbval` fails where a claim is no longer true.
    """
    print(f"as in the lesson: {claim}" if holds else f"NOT as in the lesson, which found: {claim}")
