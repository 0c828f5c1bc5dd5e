"""Solutions to the exercises of basics.ipynb, one under each `# %%`."""

# %% basics-1
import math

times_as_likely = math.exp(2) / math.exp(1)

# %% basics-2
import math


def my_softmax(some_logits, temperature=1.0):
    largest = max(some_logits)
    powers = [math.exp((one - largest) / temperature) for one in some_logits]
    return [power / sum(powers) for power in powers]


# %% basics-3
import math


def loss_by_hand(right_probabilities):
    return sum(-math.log(one) for one in right_probabilities) / len(right_probabilities)


# %% basics-4
parameter_after = 0.5 - 0.1 * 2.0

# %% basics-5
weight_rate = 1.1
rate_because = "b"

# %% basics-6
adapter_numbers = 2048 * 16 + 16 * 640
