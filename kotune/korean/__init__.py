"""Korean text: checks of an answer's language, and the tasks, facts and labels that the course measures.

`checks` is the table of checks; the modules `*_checks` hold most of them, and `answer` is what they see. `sentences`,
`particles`, `speech_levels`, `banmal` and `unfinished` know the language, `grounding` whether a text keeps to its source.
`tasks` has the 23 tasks and `task_styles` how each is to be written; `radiology` reads facts, `listings` records of
advertisements, `zero_shot` labels.
"""

from kotune.korean.answer import Finding
from kotune.korean.checks import CHECKS, check, summary
from kotune.korean.grounding import Support, support

__all__ = ["CHECKS", "Finding", "Support", "check", "summary", "support"]
