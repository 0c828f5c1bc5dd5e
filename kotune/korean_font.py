"""A font with Hangul for matplotlib, which has none of its own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def use_korean_font() -> None:
    """Register NanumGothic from its package and make it matplotlib's font."""
    import matplotlib.pyplot as plt
    from matplotlib import font_manager

    # found without importing: the package's own code needs distutils, which Python 3.12 no longer has
    package = find_spec("koreanize_matplotlib")
    if package is None:
        return
    for file in ("NanumGothic.ttf", "NanumGothicBold.ttf"):
        font_manager.fontManager.addfont(Path(package.origin).parent / "fonts" / file)
    plt.rcParams.update({"font.family": "NanumGothic", "axes.unicode_minus": False})
