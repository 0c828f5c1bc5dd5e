"""Who is asking what: processes that share a journal claim a request before they send it, so that it is sent once.

A claim is a lock on one byte of a file beside the journal, at a place that the request's key gives. The system drops
it when the process ends, in whatever way: nothing of a killed process has to be found and undone.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import zlib
from pathlib import Path

from utils import CourseError

PLACES = 2**31 - 1  # as far as Windows counts
_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_OPEN: dict[tuple[int, str], _ClaimFile] = {}  # by process and path: a lock belongs to a process and not to a thread
_OPENING = threading.Lock()


class Claims:
    """The claims of one run on the requests of a journal."""

    def __init__(self, journal: Path):
        """Take the journal; its claims lie beside it, in a file that stays empty."""
        path = Path(f"{journal}.claims")
        self._own: set[str] = set()
        with _OPENING:
            self._file = _OPEN.setdefault((os.getpid(), str(path.resolve())), _ClaimFile(path))

    def take(self, key: str) -> bool:
        """Claim a request; False where another run, of this process or another, is asking it.

        Raises:
            CourseError: the file of claims cannot be written.
        """
        is_free = self._file.take(_place(key))
        if is_free:
            self._own.add(key)
        return is_free

    def release(self, key: str) -> None:
        """Give a claim back, if it is one, once the reply is in the journal or will not come."""
        if key in self._own:
            self._own.discard(key)
            self._file.release(_place(key))

    def release_all(self) -> None:
        """Give back what is still claimed."""
        for key in list(self._own):
            self.release(key)


def _place(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % PLACES


class _ClaimFile:
    """A file whose bytes are locked one by one; it is open while anything is claimed.

    Closing any descriptor of a file gives up all of a process's locks on it (POSIX), so a process has one for all runs.
    """

    def __init__(self, path: Path):
        self._path = path
        self._held: set[int] = set()
        self._descriptor: int | None = None
        self._guard = threading.Lock()

    def take(self, place: int) -> bool:
        with self._guard:
            if place in self._held:
                return False
            if self._descriptor is None:
                try:
                    self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
                except OSError as error:
                    raise CourseError(
                        f"{self._path.name} cannot be written ({error.strerror}); name another journal."
                    ) from None
            if _lock(self._descriptor, place):
                self._held.add(place)
                return True
            self._close_if_idle()
            return False

    def release(self, place: int) -> None:
        with self._guard:
            if place in self._held and self._descriptor is not None:
                self._held.discard(place)
                _unlock(self._descriptor, place)
                self._close_if_idle()

    def _close_if_idle(self) -> None:
        if not self._held and self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, place: int) -> bool:
        os.lseek(descriptor, place, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            return error.errno not in _TAKEN
        return True

    def _unlock(descriptor: int, place: int) -> None:
        os.lseek(descriptor, place, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        except OSError:  # it was never locked: a file system without locks
            return
else:
    import fcntl

    def _lock(descriptor: int, place: int) -> bool:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError as error:
            return error.errno not in _TAKEN  # a file system without locks: better asked twice than never
        return True

    def _unlock(descriptor: int, place: int) -> None:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, place)
        except OSError:  # it was never locked: a file system without locks
            return
