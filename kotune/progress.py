"""Progress bars that show while something runs and leave nothing behind in a stored notebook."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def bar(total: int | None, label: str, unit: str):
    """Return a tqdm bar for Jupyter or a terminal, whichever is there; it vanishes when closed."""
    from tqdm.auto import tqdm

    return tqdm(
        total=total,
        desc=label,
        unit=unit,
        leave=False,
        disable=os.environ.get("TQDM_DISABLE", "") not in ("", "0"),
    )


def track(items: Iterable[Item], total: int, label: str, unit: str) -> Iterator[Item]:
    """Yield items while a bar counts them."""
    with bar(total, label, unit) as shown:
        for item in items:
            yield item
            shown.update(1)
