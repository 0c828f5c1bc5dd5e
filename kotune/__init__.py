"""Korean tuning: a course, and a package, on instruction tuning a small language model for Korean, end to end."""

from utils import CourseError as _CourseError


def _in_edition(sentence: str) -> str:
    from kotune.language import language

    try:
        if language() == "en":
            return sentence
    except _CourseError:  # an unknown language: the sentence at hand counts
        return sentence
    from kotune.korean.error_sentences import in_edition

    return in_edition(sentence)


_CourseError.in_edition = _in_edition  # what a notebook shows of an error, in the language of its edition
