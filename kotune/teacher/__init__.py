"""The teacher model: requests that are estimated, asked side by side, kept in a journal and paid for once.

`client` asks (`endpoint` says where, `replies` reads what comes back, `reasoning` is cut off it, `refusals` are understood,
`costs` is what it takes); `journal` keeps every reply, `claims` lets several processes share it, `batches` uses the Batch
API, and `recording` replays what was recorded. `generation` makes questions, answers and tasks of
the replies, `preferences` the rejected sides of pairs, and `filters` says which of them do not do what their prompt demands.
"""

from kotune.teacher.client import Teacher, answered, connect, has_real_teacher, replay

__all__ = ["Teacher", "answered", "connect", "has_real_teacher", "replay"]
