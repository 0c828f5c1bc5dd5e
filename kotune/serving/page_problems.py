"""What the page says of an error in its visitor's own language; the interface and the log have the English sentence."""

from __future__ import annotations

from kotune.korean.error_sentences import in_korean
from kotune.serving.backends import BackendBrokeOff, BackendDown, BackendError, BackendRefused, PromptTooLong
from kotune.serving.desk import Closing, TooLate, UnknownModel
from kotune.serving.guard import Busy
from kotune.serving.page_texts import Texts
from utils import CourseError

# the first that fits; the page's texts have a sentence for each
KINDS: dict[type[CourseError], str] = {
    Busy: "busy",
    PromptTooLong: "prompt_too_long",
    TooLate: "too_late",
    Closing: "closing",
    UnknownModel: "unknown_model",
    BackendDown: "backend_down",
    BackendBrokeOff: "backend_broke_off",
    BackendRefused: "refused",
    BackendError: "backend",
    CourseError: "refused",
}


def sentence(error: CourseError, said: Texts) -> str:
    """Return the sentence on an error in a language: its own, or for Korean one of its kind where the table has none."""
    if not said.problems:
        return str(error)
    kind = next(name for known, name in KINDS.items() if isinstance(error, known))
    if kind == "refused" and (korean := in_korean(str(error))):
        return korean
    return said.problems[kind].format(seconds=getattr(error, "retry_after_s", 0))


def file_reason(error: Exception, said: Texts) -> str:
    """Return why a file could not be written."""
    if not said.file_problems:
        return getattr(error, "strerror", None) or str(error)
    number = getattr(error, "errno", None)
    return said.file_problems.get(number, said.file_problems[None])
