"""Training: the four stages, their data as tokens, their losses, what a run will take and what it leaves.

`stages` runs them on `trainers` (TRL's, with the loss of `losses`) over the tokens of `encoding`, on a CPU as `lean` says:
in the batches of `end_to_end`, through the layers of `fused`. `plan` and `estimate` say beforehand what a run will be and
take, with the `speed` of this machine; `evaluation` measures held-out loss and the health of preference training; `runs`
keeps run cards and checkpoints.
"""

from kotune.training.encoding import encode_preference, encode_supervised
from kotune.training.estimate import estimate_run
from kotune.training.evaluation import held_out_loss, perplexity, preference_loss, reference_logprobs
from kotune.training.stages import Reporting, TrainingResult, dpo, pretrain, reward, sft

__all__ = [
    "Reporting",
    "TrainingResult",
    "dpo",
    "encode_preference",
    "encode_supervised",
    "estimate_run",
    "held_out_loss",
    "perplexity",
    "preference_loss",
    "pretrain",
    "reference_logprobs",
    "reward",
    "sft",
]
