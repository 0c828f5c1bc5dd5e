"""Wrong answers to the exercises of preprocess.ipynb; each `# %%` names the exercise and the sentence that it deserves."""

# %% preprocess-1 swapped
dollars = 18 * (400 * 0.60 + 750 * 0.15) / 1_000_000

# %% preprocess-1 one_request
dollars = (400 * 0.15 + 750 * 0.60) / 1_000_000

# %% preprocess-1 replies_only
dollars = 18 * 750 * 0.60 / 1_000_000

# %% preprocess-1 prompts_only
dollars = 18 * 400 * 0.15 / 1_000_000

# %% preprocess-1 cents
dollars = 0.918

# %% preprocess-1 per_thousand
dollars = 18 * (400 * 0.15 + 750 * 0.60) / 1_000

# %% preprocess-1 other
dollars = 18 * 1150 * 0.75 / 1_000_000

# %% preprocess-2 over_longer
rouge_of_both = 6 / 9

# %% preprocess-2 over_shorter
rouge_of_both = 1.0

# %% preprocess-2 no_two
rouge_of_both = 6 / 15

# %% preprocess-2 other
rouge_of_both = 0.9


# %% preprocess-3 any_order
def my_rouge(first_words, second_words):
    common = len(set(first_words) & set(second_words))
    return 2 * common / (len(first_words) + len(second_words))


# %% preprocess-3 any_order
def my_rouge(first_words, second_words):
    left, common = list(second_words), 0
    for word in first_words:
        if word in left:
            left.remove(word)
            common += 1
    return 2 * common / (len(first_words) + len(second_words))


# %% preprocess-3 in_one_piece
def my_rouge(first_words, second_words):
    longest = 0
    for i in range(len(first_words)):
        for j in range(len(second_words)):
            k = 0
            while i + k < len(first_words) and j + k < len(second_words) and first_words[i + k] == second_words[j + k]:
                k += 1
            longest = max(longest, k)
    return 2 * longest / (len(first_words) + len(second_words))


# %% preprocess-3 length_only
def my_rouge(first_words, second_words):
    if not first_words or not second_words:
        return 0
    if first_words[0] == second_words[0]:
        return 1 + my_rouge(first_words[1:], second_words[1:])
    return max(my_rouge(first_words[1:], second_words), my_rouge(first_words, second_words[1:]))


# %% preprocess-3 over_first
def my_rouge(first_words, second_words):
    def common(a, b):
        if not a or not b:
            return 0
        return 1 + common(a[1:], b[1:]) if a[0] == b[0] else max(common(a[1:], b), common(a, b[1:]))

    return common(first_words, second_words) / len(second_words)


# %% preprocess-3 empty
def my_rouge(first_words, second_words):
    def common(a, b):
        if not a or not b:
            return 0
        return 1 + common(a[1:], b[1:]) if a[0] == b[0] else max(common(a[1:], b), common(a, b[1:]))

    return 2 * common(first_words, second_words) / (len(first_words) + len(second_words))


# %% preprocess-3 other
def my_rouge(first_words, second_words):
    return sum(a == b for a, b in zip(first_words, second_words, strict=False)) / max(len(first_words), 1)


# %% preprocess-4 too_far
asked_second = "월세는 언제 내나요?"
trap_because = "b"

# %% preprocess-4 spared
asked_second = "전세 계약을 연장하지 않으려면 언제까지 집주인에게 알려야 하나요?"
trap_because = "b"

# %% preprocess-4 only_marks
asked_second = "전세 계약을 연장하려면, 언제까지 집주인에게 알려야 하나요?!"
trap_because = "b"

# %% preprocess-4 because_threshold
asked_second = "전세 계약을 해지하려면 언제까지 집주인에게 알려야 하나요?"
trap_because = "a"

# %% preprocess-4 because_unit
asked_second = "전세 계약을 해지하려면 언제까지 집주인에게 알려야 하나요?"
trap_because = "c"

# %% preprocess-4 not_a_text
asked_second = ["전세 계약을 해지하려면 언제까지 집주인에게 알려야 하나요?"]
trap_because = "b"

# %% preprocess-5 substring
import re


def unsupported(answer_text, passage_text):
    return [one for one in re.findall(r"\d+", answer_text) if one not in passage_text]


# %% preprocess-5 digit_by_digit
def unsupported(answer_text, passage_text):
    return [one for one in answer_text if one.isdigit() and one not in passage_text]


# %% preprocess-5 swapped
import re


def unsupported(answer_text, passage_text):
    return [one for one in re.findall(r"\d+", passage_text) if one not in re.findall(r"\d+", answer_text)]


# %% preprocess-5 supported
import re


def unsupported(answer_text, passage_text):
    return [one for one in re.findall(r"\d+", answer_text) if one in re.findall(r"\d+", passage_text)]


# %% preprocess-5 every
import re


def unsupported(answer_text, passage_text):
    return re.findall(r"\d+", answer_text)


# %% preprocess-5 other
def unsupported(answer_text, passage_text):
    return [one for one in answer_text.split() if one not in passage_text.split()]


# %% preprocess-5 not_a_list
def unsupported(answer_text, passage_text):
    return any(one.isdigit() for one in answer_text)


# %% preprocess-6 by_lot
import random


def for_validation(question_text, share):
    return random.random() < share


# %% preprocess-6 builtin_hash
def for_validation(question_text, share):
    return hash(question_text) % 1000 < 1000 * share


# %% preprocess-6 inverted
import hashlib


def for_validation(question_text, share):
    return int(hashlib.sha256(question_text.encode()).hexdigest()[:8], 16) / 2**32 >= share


# %% preprocess-6 one_side
def for_validation(question_text, share):
    return len(question_text) > 1000 * share


# %% preprocess-6 no_share
import hashlib


def for_validation(question_text, share):
    return int(hashlib.sha256(question_text.encode()).hexdigest(), 16) % 10 == 0


# %% preprocess-6 uneven
import hashlib


def for_validation(question_text, share):
    return hashlib.sha256(question_text.encode()).hexdigest()[0] in "01234567"


# %% preprocess-6 not_a_bool
import hashlib


def for_validation(question_text, share):
    return int(hashlib.sha256(question_text.encode()).hexdigest()[:8], 16) / 2**32
