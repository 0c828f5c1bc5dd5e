"""Solutions to the exercises of evaluation.ipynb, one under each `# %%`."""


# %% evaluation-1
def object_particle(word):
    final = (ord(word[-1]) - 0xAC00) % 28
    return "을" if final else "를"


# %% evaluation-2
import math


def interval_of(right_count, n):
    z, p = 1.96, right_count / n
    below = 1 + z**2 / n
    middle = (p + z**2 / (2 * n)) / below
    reach = z / below * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return middle - reach, middle + reach


# %% evaluation-3
def verdict_of(with_a_first, with_b_first):
    one = {"first": "A", "second": "B", "tie": "tie"}[with_a_first]
    other = {"first": "B", "second": "A", "tie": "tie"}[with_b_first]
    return one if one == other else "tie"


# %% evaluation-4
rate_of_dpo = (12 + 19 / 2) / 40

# %% evaluation-5
lead_of_better = 0.3
correction_because = "b"


# %% evaluation-6
def strict_and_dropped(gold, said_labels, allowed):
    right = sum(one == other for one, other in zip(gold, said_labels, strict=True))
    readable = sum(one in allowed for one in said_labels)
    return right / len(gold), right / readable if readable else None
