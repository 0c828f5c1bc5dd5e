"""Wrong answers to the exercises of basics.ipynb; each `# %%` names the exercise and the sentence that it deserves."""

# %% basics-1 ratio
times_as_likely = 2 / 1

# %% basics-1 difference
times_as_likely = 2 - 1

# %% basics-1 inverse
times_as_likely = 0.37

# %% basics-1 share
times_as_likely = 0.665

# %% basics-1 other
times_as_likely = 5

# %% basics-1 not_a_number
times_as_likely = "2.72"

# %% basics-2 no_temperature
from math import exp


def my_softmax(some_logits, temperature=1.0):
    powers = [exp(one) for one in some_logits]
    return [power / sum(powers) for power in powers]


# %% basics-2 times_temperature
from math import exp


def my_softmax(some_logits, temperature=1.0):
    powers = [exp(one * temperature) for one in some_logits]
    return [power / sum(powers) for power in powers]


# %% basics-2 not_normalised
from math import exp


def my_softmax(some_logits, temperature=1.0):
    return [exp(one / temperature) for one in some_logits]


# %% basics-2 divided_after
from math import exp


def my_softmax(some_logits, temperature=1.0):
    total = sum(exp(one) for one in some_logits)
    return [exp(one) / total / temperature for one in some_logits]


# %% basics-2 too_large
from math import exp


def my_softmax(some_logits, temperature=1.0):
    powers = [exp(one / temperature) for one in some_logits]
    return [power / sum(powers) for power in powers]


# %% basics-2 other
def my_softmax(some_logits, temperature=1.0):
    return [one / sum(some_logits) for one in some_logits]


# %% basics-2 returned_nothing
def my_softmax(some_logits, temperature=1.0):
    print([one / temperature for one in some_logits])


# %% basics-2 not_a_list
def my_softmax(some_logits, temperature=1.0):
    return max(some_logits) / temperature


# %% basics-3 summed
from math import log


def loss_by_hand(right_probabilities):
    return -sum(log(one) for one in right_probabilities)


# %% basics-3 base_two
from math import log2


def loss_by_hand(right_probabilities):
    return -sum(log2(one) for one in right_probabilities) / len(right_probabilities)


# %% basics-3 base_ten
from math import log10


def loss_by_hand(right_probabilities):
    return -sum(log10(one) for one in right_probabilities) / len(right_probabilities)


# %% basics-3 sign
from math import log


def loss_by_hand(right_probabilities):
    return sum(log(one) for one in right_probabilities) / len(right_probabilities)


# %% basics-3 log_of_mean
from math import log


def loss_by_hand(right_probabilities):
    return -log(sum(right_probabilities) / len(right_probabilities))


# %% basics-3 other
def loss_by_hand(right_probabilities):
    return sum(1 - one for one in right_probabilities) / len(right_probabilities)


# %% basics-3 not_a_number
from math import log


def loss_by_hand(right_probabilities):
    return [-log(one) for one in right_probabilities]


# %% basics-3 raised
def loss_by_hand(right_probabilities):
    return right_probabilities.mean()


# %% basics-3 not_a_function
loss_by_hand = 0.347

# %% basics-4 uphill
parameter_after = 0.5 + 0.1 * 2.0

# %% basics-4 no_rate
parameter_after = 0.5 - 2.0

# %% basics-4 step_only
parameter_after = 0.1 * 2.0

# %% basics-4 rate_only
parameter_after = 0.5 - 0.1

# %% basics-4 other
parameter_after = 1.0

# %% basics-5 still_arrives
weight_rate = 0.9
rate_because = "b"

# %% basics-5 bounces
weight_rate = 1
rate_because = "b"

# %% basics-5 negative
weight_rate = -0.1
rate_because = "b"

# %% basics-5 because_gradient
weight_rate = 1.5
rate_because = "a"

# %% basics-5 because_steps
weight_rate = 1.5
rate_because = "c"

# %% basics-5 not_a_letter
weight_rate = 1.5
rate_because = "it is too large"

# %% basics-6 full
adapter_numbers = 2048 * 640

# %% basics-6 one_only
adapter_numbers = 2048 * 16

# %% basics-6 product
adapter_numbers = 2048 * 16 * 640

# %% basics-6 no_rank
adapter_numbers = 2048 + 640

# %% basics-6 other
adapter_numbers = 64
