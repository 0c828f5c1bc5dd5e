"""Solutions to the exercises of train.ipynb, one under each `# %%`."""

# %% train-1
import math

steps_in_all = 3 * math.ceil(475 / 8)


# %% train-2
def labels_of(prompt_ids, completion_ids):
    return [-100] * len(prompt_ids) + completion_ids


# %% train-3
import math

one_in = math.exp(2.5)


# %% train-4
def lora_layer(x, W, A, B, alpha):
    return x @ W.T + alpha / len(A) * (x @ A.T) @ B.T


# %% train-5
import math


def masked_loss(predictions, labels):
    costs = [-math.log(row[label]) for row, label in zip(predictions, labels[1:], strict=False) if label != -100]
    return sum(costs) / len(costs)


# %% train-6
def in_manwon(amount):
    before, found, rest = amount.partition("억")
    if not found:
        before, rest = "0", amount
    rest = rest.strip() or "0"
    if rest.endswith("천"):
        return int(before) * 10_000 + int(rest[:-1]) * 1_000
    return int(before) * 10_000 + int(rest)


# %% train-7
picked_epochs = min(losses_by_epochs, key=lambda epochs: losses_by_epochs[epochs][1])
picked_because = "a"
