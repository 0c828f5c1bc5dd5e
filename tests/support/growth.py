"""Whether the time of a function grows with the length of a text, and not with its square."""

import time

PART = 8  # a square takes 64 times as long for the whole as for this part of it, a line 8 times
MOST = 24
NOTHING_S = 1.0  # what takes less for a whole megabyte is no trouble, and too short to compare


def assert_linear(function, text):
    """Assert that a text takes about eight times as long as its eighth, on however slow a machine."""
    whole = _seconds(function, text)
    if whole > NOTHING_S:
        part = _seconds(function, text[: len(text) // PART])
        assert whole < MOST * part, f"{whole:.2f} s for {len(text):,} characters, {part:.2f} s for an eighth of them"


def _seconds(function, text):
    start = time.process_time()
    function(text)
    return time.process_time() - start
