"""Solutions to the exercises of preprocess.ipynb, one under each `# %%`."""

# %% preprocess-1
dollars = 18 * 400 * 0.15 / 1_000_000 + 18 * 750 * 0.60 / 1_000_000

# %% preprocess-2
rouge_of_both = 2 * 6 / (6 + 9)


# %% preprocess-3
def my_rouge(first_words, second_words):
    table = [[0] * (len(second_words) + 1) for _ in range(len(first_words) + 1)]
    for i, word in enumerate(first_words, start=1):
        for j, other in enumerate(second_words, start=1):
            longer = max(table[i - 1][j], table[i][j - 1])
            table[i][j] = table[i - 1][j - 1] + 1 if word == other else longer
    both = len(first_words) + len(second_words)
    return 2 * table[-1][-1] / both if both else 0


# %% preprocess-4
asked_second = "전세 계약을 해지하려면 언제까지 집주인에게 알려야 하나요?"
trap_because = "b"

# %% preprocess-5
import re


def unsupported(answer_text, passage_text):
    known = re.findall(r"\d+", passage_text)
    return [one for one in re.findall(r"\d+", answer_text) if one not in known]


# %% preprocess-6
import hashlib


def for_validation(question_text, share):
    digest = hashlib.sha256(question_text.encode()).hexdigest()
    return int(digest[:8], 16) / 2**32 < share
