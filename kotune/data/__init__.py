"""Data sets: reading and writing every format, the canonical records, checks, retrieval and personal data.

`registry` finds a data set by name or path, and `course` what the lessons run on; `readers` read files row by row
(`text_files` encodings, `excel` workbooks), `records` turns rows into canonical records, `validation` checks them and
`writers` write them in other formats. `retrieval` finds passages for a question (`ranking` by words, by `embeddings`, or
both; `vector_cache` keeps what was embedded), `documents` fetches them, `pii` finds personal data (`addresses` among it),
`dedup` takes repeats out (`semantic_repeats` those in other words, `dedup_shards` in parts), `shard_files` puts the parts of
a run together, and `card` writes the data card.
"""

from kotune.data.course import CourseSet, course_set
from kotune.data.registry import dataset, from_answers, from_question, load, load_rows

__all__ = ["CourseSet", "course_set", "dataset", "from_answers", "from_question", "load", "load_rows"]
