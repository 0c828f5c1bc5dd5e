"""Models that do one job each beside the chat models: which are here, and how they are asked.

Such a model was trained on one text at a time with an instruction before it, and knows nothing else. The server puts
the instruction there as the training records do, and refuses what the model never saw: other instructions, earlier turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kotune.data.records import with_input
from kotune.models import sources
from kotune.models.adapters import find_adapter
from kotune.models.machine import Recipe
from kotune.models.sources import ModelSource
from prompts import LISTING, RADIOLOGY, Message
from utils import CourseError


@dataclass(frozen=True)
class Job:
    """What a model was trained to do.

    instructions: what is chosen with each text (the study of a radiology report) -> the instruction; of one alone, "".
    """

    name: str  # also of the adapter's folder
    instructions: Mapping[str, str]

    @property
    def choices(self) -> tuple[str, ...]:
        """What there is to choose from; nothing where there is one instruction."""
        return tuple(choice for choice in self.instructions if choice)

    def ask(self, text: str, choice: str = "") -> list[Message]:
        """Return the prompt for a text, as a training record has it: one user message. An unknown choice is the first."""
        instruction = self.instructions.get(choice) or next(iter(self.instructions.values()))
        return [{"role": "user", "content": with_input(instruction, text.strip())}]

    def prompt_of(self, messages: Sequence[Message]) -> list[Message]:
        """Return a request's messages as training has them.

        The instruction may be left out where there is one alone, come as system text, or stand before the text already.

        Raises:
            CourseError: there are earlier turns, another instruction, or none where there is a choice.
        """
        *before, asked = messages
        text = asked["content"].strip()
        if len(before) > 1 or any(message["role"] != "system" for message in before):
            raise CourseError(f"The {self.name} model answers one text at a time; send it without earlier turns.")
        if before:
            instruction = before[0]["content"].strip()
            if not self._knows(instruction):
                raise CourseError(
                    f"The {self.name} model was trained on an instruction of its own and knows no other; {self._advice}."
                )
            return [{"role": "user", "content": with_input(instruction, text)}]
        first, _, rest = text.partition("\n\n")
        if rest.strip() and self._knows(first):
            return [{"role": "user", "content": text}]
        if self.choices:
            raise CourseError(f"The {self.name} model needs its instruction before the text; {self._advice}.")
        return self.ask(text)

    def _knows(self, instruction: str) -> bool:
        """Say whether training asked so: word for word, or, where it worded each choice in several ways, by naming one."""
        return instruction in self.instructions.values() or any(choice in instruction for choice in self.choices)

    @property
    def _advice(self) -> str:
        if not self.choices:
            return "leave the system text out"
        example = next(iter(self.instructions.values()))
        return f"pass one as system text that names the study ({', '.join(self.choices)}), such as {example!r}"


JOBS = {
    "listings": Job("listings", {"": LISTING.system}),
    "radiology": Job("radiology", {study: prompt.system for study, prompt in RADIOLOGY.items()}),
}


def find_models(recipe: Recipe) -> dict[str, ModelSource]:
    """Return the jobs whose adapters for the recipe's model lie in `outputs/` or `assets/`, and where.

    One that cannot be used is left out, and why is printed.
    """
    found = {}
    for name in JOBS:
        adapter = find_adapter(name, recipe)
        if adapter is None:
            continue
        try:
            found[name] = sources.find(str(adapter), recipe)[-1]
        except CourseError as error:
            print(f"The {name} model is left out: {error}", flush=True)
    return found
