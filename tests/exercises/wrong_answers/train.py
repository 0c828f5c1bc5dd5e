"""Wrong answers to the exercises of train.ipynb; each `# %%` names the exercise and the sentence that it deserves."""

# %% train-1 rounded_late
steps_in_all = 475 * 3 / 8

# %% train-1 rounded_late
steps_in_all = 179

# %% train-1 dropped_last
steps_in_all = 475 // 8 * 3

# %% train-1 one_epoch
steps_in_all = 60

# %% train-1 rows
steps_in_all = 475 * 3

# %% train-1 other
steps_in_all = 24


# %% train-2 zeros
def labels_of(prompt_ids, completion_ids):
    return [0] * len(prompt_ids) + completion_ids


# %% train-2 nothing_masked
def labels_of(prompt_ids, completion_ids):
    return prompt_ids + completion_ids


# %% train-2 wrong_side
def labels_of(prompt_ids, completion_ids):
    return prompt_ids + [-100 for _ in completion_ids]


# %% train-2 too_short
def labels_of(prompt_ids, completion_ids):
    return completion_ids


# %% train-2 no_end
def labels_of(prompt_ids, completion_ids):
    return [-100] * len(prompt_ids) + completion_ids[:-1] + [-100]


# %% train-2 shifted
def labels_of(prompt_ids, completion_ids):
    return ([-100] * len(prompt_ids) + completion_ids)[1:] + [-100]


# %% train-2 other
def labels_of(prompt_ids, completion_ids):
    return [-100] * (len(prompt_ids) + len(completion_ids))


# %% train-2 not_a_list
def labels_of(prompt_ids, completion_ids):
    return len(completion_ids)


# %% train-3 bits
one_in = 2**2.5

# %% train-3 ten
one_in = 10**2.5

# %% train-3 probability
one_in = 0.082

# %% train-3 linear
one_in = 2.5

# %% train-3 linear
one_in = 42 * 2.5 / 3.73

# %% train-3 other
one_in = 20


# %% train-4 no_scale
def lora_layer(x, W, A, B, alpha):
    return x @ W.T + x @ A.T @ B.T


# %% train-4 inverse_scale
def lora_layer(x, W, A, B, alpha):
    return x @ W.T + len(A) / alpha * x @ A.T @ B.T


# %% train-4 product_scale
def lora_layer(x, W, A, B, alpha):
    return x @ W.T + alpha * len(A) * x @ A.T @ B.T


# %% train-4 adapter_only
def lora_layer(x, W, A, B, alpha):
    return alpha / len(A) * x @ A.T @ B.T


# %% train-4 frozen_only
def lora_layer(x, W, A, B, alpha):
    return x @ W.T


# %% train-4 all_scaled
def lora_layer(x, W, A, B, alpha):
    return alpha / len(A) * x @ (W + B @ A).T


# %% train-4 weights
def lora_layer(x, W, A, B, alpha):
    return W + alpha / len(A) * B @ A


# %% train-4 raised
def lora_layer(x, W, A, B, alpha):
    return x @ W.T + alpha / len(A) * x @ A @ B


# %% train-4 other
def lora_layer(x, W, A, B, alpha):
    return (x @ W.T + alpha / len(A) * x @ A.T @ B.T).sum(1)


# %% train-5 no_shift
import math


def masked_loss(predictions, labels):
    costs = [-math.log(row[label]) for row, label in zip(predictions, labels, strict=True) if label != -100]
    return sum(costs) / len(costs)


# %% train-5 wrong_way
import math


def masked_loss(predictions, labels):
    costs = [-math.log(row[label]) for row, label in zip(predictions[1:], labels, strict=False) if label != -100]
    return sum(costs) / len(costs)


# %% train-5 over_all
import math


def masked_loss(predictions, labels):
    costs = [-math.log(row[label]) for row, label in zip(predictions, labels[1:], strict=False) if label != -100]
    return sum(costs) / len(labels)


# %% train-5 summed
import math


def masked_loss(predictions, labels):
    return sum(-math.log(row[label]) for row, label in zip(predictions, labels[1:], strict=False) if label != -100)


# %% train-5 raised
import math


def masked_loss(predictions, labels):
    costs = [-math.log(row[label]) for row, label in zip(predictions, labels, strict=True)]
    return sum(costs) / len(costs)


# %% train-5 other
def masked_loss(predictions, labels):
    costs = [1 - row[label] for row, label in zip(predictions, labels[1:], strict=False) if label != -100]
    return sum(costs) / len(costs)


# %% train-6 glued
def in_manwon(amount):
    return int("".join(one for one in amount if one.isdigit()))


# %% train-6 eok_wrong
def in_manwon(amount):
    before, found, rest = amount.partition("억")
    if not found:
        before, rest = "0", amount
    rest = rest.strip() or "0"
    return int(before) * 1_000 + (int(rest[:-1]) * 1_000 if rest.endswith("천") else int(rest))


# %% train-6 cheon_wrong
def in_manwon(amount):
    before, found, rest = amount.partition("억")
    if not found:
        before, rest = "0", amount
    return int(before) * 10_000 + int(rest.strip().rstrip("천") or 0)


# %% train-6 rest_lost
def in_manwon(amount):
    if "억" in amount:
        return int(amount.split("억")[0]) * 10_000
    return int(amount[:-1]) * 1_000 if amount.endswith("천") else int(amount)


# %% train-6 in_won
def in_manwon(amount):
    before, found, rest = amount.partition("억")
    if not found:
        before, rest = "0", amount
    rest = rest.strip() or "0"
    return int(before) * 100_000_000 + (int(rest[:-1]) * 10_000_000 if rest.endswith("천") else int(rest) * 10_000)


# %% train-6 other
def in_manwon(amount):
    return 10_000 if "억" in amount else 0


# %% train-6 raised
def in_manwon(amount):
    return int(amount)


# %% train-7 too_few
picked_epochs = 1
picked_because = "a"

# %% train-7 no_epochs
picked_epochs = 3
picked_because = "a"

# %% train-7 because_tokens
picked_epochs = 2
picked_because = "b"

# %% train-7 because_higher
picked_epochs = 2
picked_because = "c"
