"""The loopback interface of a private network: bring it up, and count what crossed it.

In a network namespace of its own (`unshare --net`) the counters hold the bytes of one system and of
nobody else, headers, heartbeats and all, counted the same way for every system. Standard library only,
because it is loaded in the environments of other systems too. Linux only.
"""

import fcntl
import socket
import struct
from pathlib import Path

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def bring_up() -> None:
    """Switch `lo` on; a new namespace has it switched off. Nothing to do where it is on."""
    request = struct.pack("16sH14s", b"lo", 0, b"")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        flags = struct.unpack("16sH14s", fcntl.ioctl(channel, _SIOCGIFFLAGS, request))[1]
        if not flags & _IFF_UP:
            fcntl.ioctl(channel, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | _IFF_UP, b""))


def bytes_sent() -> int:
    """Bytes that left through `lo` since the namespace was made; each also arrived through it."""
    for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return int(numbers.split()[8])
    raise RuntimeError("there is no loopback interface in /proc/net/dev")
