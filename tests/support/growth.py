"""Whether the time of a function grows with the length of a text, and not with its square."""

import gc
import time

PART = 8  # a square takes 64 times as long for the whole as for this part of it, a line 8 times
MOST = 24
NOTHING_S = 1.0  # what takes less for a whole megabyte is no trouble, and too short to compare

TIMES = 4  # a square takes 16 times as long for a text that is so many times as long, a line 4 times
MOST_OF_TIMES = 8
FAIR_S = 2e-6  # a character; what takes less for a short text is not looked at twice


def assert_linear(function, text):
    """Assert that a text takes about eight times as long as its eighth, on however slow a machine."""
    assert_linear_growth(function, lambda size: text[:size], len(text))


def assert_linear_growth(function, make, size):
    """Assert that the text of a size that `make` returns takes about eight times as long as that of an eighth."""
    whole = _seconds(function, make(size))
    if whole > NOTHING_S:
        part = _seconds(function, make(size // PART))
        assert whole < MOST * part, f"{whole:.2f} s for {size:,} characters, {part:.2f} s for an eighth of them"


def faster_growth(function, make, size):
    """Return in words how much longer a function takes for a longer text, where that is more than its length tells; else None.

    make: returns a text of a size. Short texts are enough to tell, and the first call of all should be made before.
    """
    shorts, longs = [], []
    for more in range(2):  # a second time where the first may be the machine's; other texts, as results may be remembered
        shorts.append(_seconds(function, make(size + 8 * more)))
        if shorts[-1] < FAIR_S * size:
            return None
        longs.append(_seconds(function, make(TIMES * (size + 8 * more))))
        if min(longs) < MOST_OF_TIMES * max(shorts):
            return None
    return f"{1000 * min(shorts):.1f} ms for {size:,} characters, {1000 * min(longs):.1f} ms for {TIMES} times as many"


def _seconds(function, text):
    gc.disable()  # it looks at whatever the process holds, now and then
    try:
        start = time.process_time()
        function(text)
        return time.process_time() - start
    finally:
        gc.enable()
