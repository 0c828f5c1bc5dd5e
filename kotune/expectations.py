"""What a lesson says of its results, held against the run at hand."""

from __future__ import annotations

from kotune.language import said


def expect(holds: bool, claim: str) -> None:
    """Print whether a claim of the lesson holds in this run; with other data or settings it may not, and nothing breaks.

    The stored notebooks hold the first form, so that `pytest --nbval` fails where a claim is no longer true.
    """
    as_told = said(f"as in the lesson: {claim}", f"본문과 같습니다: {claim}")
    otherwise = said(f"NOT as in the lesson, which found: {claim}", f"본문과 다릅니다. 본문에서는: {claim}")
    print(as_told if holds else otherwise)
