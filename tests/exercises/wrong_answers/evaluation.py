"""Wrong answers to the exercises of evaluation.ipynb; each `# %%` names the exercise and the sentence that it deserves."""


# %% evaluation-1 inverted
def object_particle(word):
    return "를" if (ord(word[-1]) - 0xAC00) % 28 else "을"


# %% evaluation-1 always
def object_particle(word):
    return "을"


# %% evaluation-1 rieul
def object_particle(word):
    return "를" if (ord(word[-1]) - 0xAC00) % 28 in (0, 8) else "을"


# %% evaluation-1 first_syllable
def object_particle(word):
    return "을" if (ord(word[0]) - 0xAC00) % 28 else "를"


# %% evaluation-1 with_word
def object_particle(word):
    return word + ("을" if (ord(word[-1]) - 0xAC00) % 28 else "를")


# %% evaluation-1 other
def object_particle(word):
    return "를" if word[-1] in "가나다라마바사아자차카타파하세서" else "을"


# %% evaluation-1 raised
def object_particle(word):
    return "을" if ord(word) % 28 else "를"


# %% evaluation-1 not_a_text
def object_particle(word):
    return (ord(word[-1]) - 0xAC00) % 28


# %% evaluation-2 textbook
import math


def interval_of(right_count, n):
    p = right_count / n
    reach = 1.96 * math.sqrt(p * (1 - p) / n)
    return max(0, p - reach), min(1, p + reach)


# %% evaluation-2 one_z
import math


def interval_of(right_count, n):
    z, p = 1, right_count / n
    below = 1 + z**2 / n
    reach = z / below * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (p + z**2 / (2 * n)) / below - reach, (p + z**2 / (2 * n)) / below + reach


# %% evaluation-2 reach_not_divided
import math


def interval_of(right_count, n):
    z, p = 1.96, right_count / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return middle - reach, middle + reach


# %% evaluation-2 middle_is_p
import math


def interval_of(right_count, n):
    z, p = 1.96, right_count / n
    reach = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return p - reach, p + reach


# %% evaluation-2 high_first
import math


def interval_of(right_count, n):
    z, p = 1.96, right_count / n
    below = 1 + z**2 / n
    middle = (p + z**2 / (2 * n)) / below
    reach = z / below * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return middle + reach, middle - reach


# %% evaluation-2 percent
import math


def interval_of(right_count, n):
    z, p = 1.96, right_count / n
    below = 1 + z**2 / n
    middle = (p + z**2 / (2 * n)) / below
    reach = z / below * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return 100 * (middle - reach), 100 * (middle + reach)


# %% evaluation-2 other
import math


def interval_of(right_count, n):
    z, p = 1.96, right_count / n
    middle = p + z**2 / 2 * n / 1 + z**2 / n
    reach = z / 1 + z**2 / n * math.sqrt(p * (1 - p) / n + z**2 / 4 * n**2)
    return middle - reach, middle + reach


# %% evaluation-2 not_a_list
def interval_of(right_count, n):
    return right_count / n


# %% evaluation-3 words_compared
def verdict_of(with_a_first, with_b_first):
    if with_a_first != with_b_first:
        return "tie"
    return {"first": "A", "second": "B", "tie": "tie"}[with_a_first]


# %% evaluation-3 one_order
def verdict_of(with_a_first, with_b_first):
    return {"first": "A", "second": "B", "tie": "tie"}[with_a_first]


# %% evaluation-3 tie_ignored
def verdict_of(with_a_first, with_b_first):
    points = {"first": 1, "second": -1, "tie": 0}
    lead = points[with_a_first] - points[with_b_first]
    return "A" if lead > 0 else "B" if lead < 0 else "tie"


# %% evaluation-3 swapped
def verdict_of(with_a_first, with_b_first):
    one = {"first": "B", "second": "A", "tie": "tie"}[with_a_first]
    other = {"first": "A", "second": "B", "tie": "tie"}[with_b_first]
    return one if one == other else "tie"


# %% evaluation-3 other
def verdict_of(with_a_first, with_b_first):
    return with_a_first if with_a_first == with_b_first else "tie"


# %% evaluation-3 returned_nothing
def verdict_of(with_a_first, with_b_first):
    if with_a_first == "first" and with_b_first == "second":
        return "A"
    if with_a_first == "second" and with_b_first == "first":
        return "B"


# %% evaluation-4 ties_lost
rate_of_dpo = 12 / 40

# %% evaluation-4 ties_left_out
rate_of_dpo = 12 / (12 + 9)

# %% evaluation-4 ties_won
rate_of_dpo = (12 + 19) / 40

# %% evaluation-4 points
rate_of_dpo = 12 + 19 / 2

# %% evaluation-4 other
rate_of_dpo = 0.66

# %% evaluation-5 possible
lead_of_better = 0.4
correction_because = "b"

# %% evaluation-5 coin
lead_of_better = 0
correction_because = "b"

# %% evaluation-5 negative
lead_of_better = -0.1
correction_because = "b"

# %% evaluation-5 because_wins
lead_of_better = 0.2
correction_because = "a"

# %% evaluation-5 because_few
lead_of_better = 0.2
correction_because = "c"


# %% evaluation-6 both_strict
def strict_and_dropped(gold, said_labels, allowed):
    right = sum(one == other for one, other in zip(gold, said_labels, strict=True))
    return right / len(gold), right / len(said_labels)


# %% evaluation-6 both_dropped
def strict_and_dropped(gold, said_labels, allowed):
    kept = [(one, other) for one, other in zip(gold, said_labels, strict=True) if other in allowed]
    share = sum(one == other for one, other in kept) / len(kept)
    return share, share


# %% evaluation-6 swapped
def strict_and_dropped(gold, said_labels, allowed):
    right = sum(one == other for one, other in zip(gold, said_labels, strict=True))
    return right / sum(one in allowed for one in said_labels), right / len(gold)


# %% evaluation-6 lenient
def strict_and_dropped(gold, said_labels, allowed):
    read = [next((label for label in allowed if label in one), None) for one in said_labels]
    right = sum(one == other for one, other in zip(gold, read, strict=True))
    return right / len(gold), right / sum(one is not None for one in read)


# %% evaluation-6 nothing_left
def strict_and_dropped(gold, said_labels, allowed):
    right = sum(one == other for one, other in zip(gold, said_labels, strict=True))
    return right / len(gold), right / sum(one in allowed for one in said_labels)


# %% evaluation-6 other
def strict_and_dropped(gold, said_labels, allowed):
    return 1.0, sum(one in allowed for one in said_labels) / len(gold)


# %% evaluation-6 not_a_list
def strict_and_dropped(gold, said_labels, allowed):
    return sum(one == other for one, other in zip(gold, said_labels, strict=True)) / len(gold)
