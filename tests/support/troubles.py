"""What a machine may do to a command, done to the process that calls one of these before the command starts."""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
import time

KEPT: list[socket.socket] = []  # open as long as the process runs


def limit_file_size(size: int) -> None:
    """Let no file grow beyond so many bytes: a full disk where none can be made."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def limit_memory(more: int) -> None:
    """Let this process take so many MiB more than it has, and no more."""
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + more * 2**20,) * 2)


def obey_modes() -> None:
    """Take from root what lets it write where a folder's or a file's mode forbids it; another user has no such right."""
    if os.geteuid() != 0 or sys.platform != "linux":
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the interface, this thread
    held = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, twice
    if libc.capget(header, held) == 0:
        for place in (0, 1):
            held[place] &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if libc.capset(header, held) == 0:
            return
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def lose_working_folder() -> None:
    """Run on in a folder that somebody has removed."""
    os.chdir(tempfile.mkdtemp())
    os.rmdir(os.getcwd())


def cut_network(kind: str) -> None:
    """Make this machine the only one that can be reached.

    kind: "all" answers no name and has no way out, as without a network; "dns only" answers every name, and nobody is there.
    """
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def is_outside(host: object) -> bool:
        return host not in (None, "", "127.0.0.1", "::1", "localhost")

    def resolved(host, port, *rest, **options):
        if not is_outside(host):
            return resolve(host, port, *rest, **options)
        if kind == "all":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("192.0.2.1", int(port or 0)))]

    def connected(self, address):
        if self.family == socket.AF_UNIX or not is_outside(address[0]):
            return connect(self, address)
        if kind == "all":
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        return connect(self, silent)

    silent = silent_address() if kind == "dns only" else None
    socket.getaddrinfo, socket.socket.connect = resolved, connected


def silent_address() -> tuple[str, int]:
    """Return an address on loopback whose connections never come about, as behind a firewall that drops what it gets."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    KEPT.append(listener)
    address = listener.getsockname()
    while True:  # until nobody is let in any more
        caller = socket.socket()
        caller.setblocking(False)
        KEPT.append(caller)
        if caller.connect_ex(address) not in (0, errno.EINPROGRESS):
            raise OSError("a listener on loopback cannot be filled")
        time.sleep(0.05)
        try:
            caller.getpeername()
        except OSError:
            return address


def go_online() -> None:
    """Take back that the tests keep the hub's client offline; with a network that is cut it finds nobody."""
    import huggingface_hub

    os.environ["HF_HUB_OFFLINE"] = "0"
    huggingface_hub.constants.HF_HUB_OFFLINE = False
