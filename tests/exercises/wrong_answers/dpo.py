"""Wrong answers to the exercises of dpo.ipynb; each `# %%` names the exercise and the sentence that it deserves."""

# %% dpo-1 difference
chance_chosen = 1.5 - 0.5

# %% dpo-1 share
chance_chosen = 1.5 / (1.5 + 0.5)

# %% dpo-1 only_chosen
chance_chosen = 0.82

# %% dpo-1 inverse
chance_chosen = 0.27

# %% dpo-1 loss
chance_chosen = 0.313

# %% dpo-1 other
chance_chosen = 0.5


# %% dpo-2 ties_lost
def accuracy_of(chosen_rewards, rejected_rewards):
    pairs = list(zip(chosen_rewards, rejected_rewards, strict=True))
    return sum(c > r for c, r in pairs) / len(pairs)


# %% dpo-2 ties_won
def accuracy_of(chosen_rewards, rejected_rewards):
    pairs = list(zip(chosen_rewards, rejected_rewards, strict=True))
    return sum(c >= r for c, r in pairs) / len(pairs)


# %% dpo-2 ties_left_out
def accuracy_of(chosen_rewards, rejected_rewards):
    pairs = [(c, r) for c, r in zip(chosen_rewards, rejected_rewards, strict=True) if c != r]
    return sum(c > r for c, r in pairs) / len(pairs)


# %% dpo-2 inverted
def accuracy_of(chosen_rewards, rejected_rewards):
    pairs = list(zip(chosen_rewards, rejected_rewards, strict=True))
    return sum((c < r) + (c == r) / 2 for c, r in pairs) / len(pairs)


# %% dpo-2 counted
def accuracy_of(chosen_rewards, rejected_rewards):
    return sum((c > r) + (c == r) / 2 for c, r in zip(chosen_rewards, rejected_rewards, strict=True))


# %% dpo-2 percent
def accuracy_of(chosen_rewards, rejected_rewards):
    pairs = list(zip(chosen_rewards, rejected_rewards, strict=True))
    return 100 * sum((c > r) + (c == r) / 2 for c, r in pairs) / len(pairs)


# %% dpo-2 other
def accuracy_of(chosen_rewards, rejected_rewards):
    return float(sum(chosen_rewards) > sum(rejected_rewards)) + 2


# %% dpo-2 raised
def accuracy_of(chosen_rewards, rejected_rewards):
    return (chosen_rewards > rejected_rewards).mean()


# %% dpo-3 mean
import math


def loss_of_pair(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    def mean(values):
        return sum(values) / len(values)

    gains = mean(policy_chosen) - mean(reference_chosen) - mean(policy_rejected) + mean(reference_rejected)
    return math.log(1 + math.exp(-beta * gains))


# %% dpo-3 no_reference
import math


def loss_of_pair(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    return math.log(1 + math.exp(-beta * (sum(policy_chosen) - sum(policy_rejected))))


# %% dpo-3 no_beta
import math


def loss_of_pair(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    gains = sum(policy_chosen) - sum(reference_chosen) - sum(policy_rejected) + sum(reference_rejected)
    return math.log(1 + math.exp(-gains))


# %% dpo-3 sign
import math


def loss_of_pair(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    gains = sum(policy_chosen) - sum(reference_chosen) - sum(policy_rejected) + sum(reference_rejected)
    return math.log(1 + math.exp(beta * gains))


# %% dpo-3 margin
def loss_of_pair(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    return beta * (sum(policy_chosen) - sum(reference_chosen) - sum(policy_rejected) + sum(reference_rejected))


# %% dpo-3 no_log
import math


def loss_of_pair(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    gains = sum(policy_chosen) - sum(reference_chosen) - sum(policy_rejected) + sum(reference_rejected)
    return 1 / (1 + math.exp(-beta * gains))


# %% dpo-3 other
def loss_of_pair(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    return abs(sum(policy_chosen) - sum(reference_chosen)) + 100


# %% dpo-4 one_token
answer_times = 0.6065

# %% dpo-4 halved
answer_times = 0.5

# %% dpo-4 halved
answer_times = 0.5**20

# %% dpo-4 nats
answer_times = -10

# %% dpo-4 nats
answer_times = 10

# %% dpo-4 inverse
answer_times = 22026

# %% dpo-4 other
answer_times = 0.05

# %% dpo-5 chosen_gained
chosen_change, rejected_change = 5, -40
change_because = "b"

# %% dpo-5 loss_high
chosen_change, rejected_change = -5, -15
change_because = "b"

# %% dpo-5 because_beta
chosen_change, rejected_change = -5, -45
change_because = "a"

# %% dpo-5 because_reference
chosen_change, rejected_change = -5, -45
change_because = "c"


# %% dpo-6 pair_of_equals
def pair_of(own_replies, own_scores):
    order = sorted(range(len(own_scores)), key=own_scores.__getitem__)
    return own_replies[own_scores.index(max(own_scores))], own_replies[order[0]]


# %% dpo-6 swapped
def pair_of(own_replies, own_scores):
    if max(own_scores) == min(own_scores):
        return None
    return own_replies[own_scores.index(min(own_scores))], own_replies[own_scores.index(max(own_scores))]


# %% dpo-6 scores
def pair_of(own_replies, own_scores):
    return None if max(own_scores) == min(own_scores) else (max(own_scores), min(own_scores))


# %% dpo-6 first_two
def pair_of(own_replies, own_scores):
    return own_replies[0], own_replies[1]


# %% dpo-6 always_none
def pair_of(own_replies, own_scores):
    print(max(own_scores), min(own_scores))


# %% dpo-6 other
def pair_of(own_replies, own_scores):
    return own_replies, own_scores


# %% dpo-6 not_a_list
def pair_of(own_replies, own_scores):
    return own_replies[own_scores.index(max(own_scores))]
