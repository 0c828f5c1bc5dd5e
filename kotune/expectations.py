"""What a lesson says of its results, held against the run at hand."""

from __future__ import annotations

from kotune.language import said

# in English and in Korean
AS_TOLD = "as in the lesson: {claim}", "본문과 같습니다: {claim}"
OTHERWISE = "NOT as in the lesson, which found: {claim}", "본문과 다릅니다. 본문에서는: {claim}"


def expect(holds: bool, claim: str) -> None:
    """Print whether a claim of the lesson holds in this run; with other data or settings it may not, and nothing breaks.

    The stored notebooks hold the first form, so that `pytest --nbval` fails where a claim is no longer true.
    """
    print(said(*(AS_TOLD if holds else OTHERWISE)).format(claim=claim))
