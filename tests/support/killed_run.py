"""Train a stage in a process of its own that kills itself: `killed_run.py STAGE MODEL DATA OUTPUT [WHEN]`.

WHEN is `step:N` (after step N), `saving:N` (with checkpoint N half-written) or `adapter` (with the adapter's first file moved
into its place). SIGKILL leaves no chance to tidy up, as a lost machine does not.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kotune.data import registry
from kotune.models.machine import RECIPES
from kotune.training import stages, trainers


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def arrange(when: str, output: Path) -> None:
    """Make the process kill itself at the moment named."""
    event, _, step = when.partition(":")
    if event == "step":
        plain = trainers.ProgressBar.on_step_end

        def on_step_end(self, args, state, control, **kwargs):
            plain(self, args, state, control, **kwargs)
            if state.global_step == int(step):
                kill()

        trainers.ProgressBar.on_step_end = on_step_end
    elif event == "saving":

        def mark_whole(checkpoint):
            if checkpoint.name == f"checkpoint-{step}":
                kill()
            marked(checkpoint)

        marked, trainers.mark_whole = trainers.mark_whole, mark_whole
    else:

        def move(source, target):
            if Path(target) == output / "adapter_model.safetensors":
                kill()
            moved(source, target)

        moved, os.replace = os.replace, move


def train(stage: str, model: str, data: str, output: str) -> None:
    """Train a stage in eight steps, with a checkpoint after every second one."""
    recipe = replace(
        RECIPES["gemma-3-270m-cpu"], model=model, dtype="float32", learning_rate=5e-3, reward_learning_rate=5e-3,
        dpo_learning_rate=5e-3, batch_size=2, dpo_batch_size=2, epochs=4.0, reward_epochs=4.0, dpo_epochs=4.0, save_steps=2,
        max_length=96,
    )  # fmt: skip
    records = registry.load(data)
    stages.run_stage(stage, recipe, records, output_dir=output, validation=records[:2] if stage == "sft" else None)


def main() -> None:
    stage, model, data, output, *when = sys.argv[1:]
    if when:
        arrange(when[0], Path(output))
    train(stage, model, data, output)


if __name__ == "__main__":
    main()
