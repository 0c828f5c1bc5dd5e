"""Answer a file in a process that kills itself: `killed_inference.py LINES ARGUMENTS...`, after LINES whole lines.

It dies in the middle of the line that follows. SIGKILL leaves no chance to tidy up, as a lost machine does not.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kotune import cli
from kotune.answering import answer_files


def main() -> None:
    allowed, written = int(sys.argv[1]), 0
    plain = answer_files.AnswerFile.append

    def append(self, rows):
        nonlocal written
        whole = rows[: allowed - written]
        plain(self, whole)
        written += len(whole)
        if len(whole) < len(rows):
            with self.path.open("ab") as file:
                file.write(b'{"id": "half a li')
                file.flush()
                os.fsync(file.fileno())
            os.kill(os.getpid(), signal.SIGKILL)

    answer_files.AnswerFile.append = append
    cli.run(["infer", *sys.argv[2:]])


if __name__ == "__main__":
    main()
