"""Solutions to the exercises of dpo.ipynb, one under each `# %%`."""

# %% dpo-1
import math

chance_chosen = 1 / (1 + math.exp(-(1.5 - 0.5)))


# %% dpo-2
def accuracy_of(chosen_rewards, rejected_rewards):
    points = [(c > r) + (c == r) / 2 for c, r in zip(chosen_rewards, rejected_rewards, strict=True)]
    return sum(points) / len(points)


# %% dpo-3
import math


def loss_of_pair(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
    chosen_gain = sum(policy_chosen) - sum(reference_chosen)
    rejected_gain = sum(policy_rejected) - sum(reference_rejected)
    return math.log(1 + math.exp(-beta * (chosen_gain - rejected_gain)))


# %% dpo-4
import math

answer_times = math.exp(-0.5 * 20)

# %% dpo-5
chosen_change, rejected_change = -10, -40
change_because = "b"


# %% dpo-6
def pair_of(own_replies, own_scores):
    highest, lowest = max(own_scores), min(own_scores)
    if highest == lowest:
        return None
    return own_replies[own_scores.index(highest)], own_replies[own_scores.index(lowest)]
