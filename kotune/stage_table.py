"""The four stages of training in one table: what each learns from, and where a recipe keeps its settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A stage of training, as the command line, recipes, estimates and training itself read it."""

    name: str
    what: str  # in a line, for people
    record_stage: str  # the stage of a canonical record that it takes (`kotune.data.writers.stage_of`)
    wanted: str  # the field that a record must have
    has: str  # the same in words
    learning_rate: str  # the fields of a recipe that hold its settings
    epochs: str
    batch_size: str
    pairs: bool = False  # whether a record has two answers, so that a batch counts pairs
    from_sft: bool = False  # whether it starts from a tuned model

    def own_fields(self) -> dict[str, str]:
        """Return what `learning_rate`, `epochs` and `batch_size` mean in a run of this stage, where it is another field."""
        fields = {"learning_rate": self.learning_rate, "epochs": self.epochs, "batch_size": self.batch_size}
        return {name: field for name, field in fields.items() if name != field}


PAIR = "chosen and rejected"
STAGES = {
    stage.name: stage
    for stage in (
        Stage(
            "pretrain", "continued pre-training on plain text", "pt", "text", "text",
            learning_rate="pretrain_learning_rate", epochs="pretrain_epochs", batch_size="batch_size",
        ),
        Stage(
            "sft", "supervised fine-tuning on questions and answers", "sft", "completion", "a completion",
            learning_rate="learning_rate", epochs="epochs", batch_size="batch_size",
        ),
        Stage(
            "reward", "a reward model from preference pairs", "dpo", "chosen", PAIR, pairs=True, from_sft=True,
            learning_rate="reward_learning_rate", epochs="reward_epochs", batch_size="dpo_batch_size",
        ),
        Stage(
            "dpo", "direct preference optimisation on preference pairs", "dpo", "chosen", PAIR, pairs=True, from_sft=True,
            learning_rate="dpo_learning_rate", epochs="dpo_epochs", batch_size="dpo_batch_size",
        ),
    )
}  # fmt: skip
