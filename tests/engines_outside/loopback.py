"""Move this process to a network namespace that has only the loopback interface (Linux).

The nodes of a Ray cluster report the first address of the machine, even if they are told to use
127.0.0.1. In the namespace no other address exists, so no server of a test can be reached from
outside, and no test can reach another machine.
"""

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

NEW_USER, NEW_NETWORK = 0x1000_0000, 0x4000_0000  # flags of unshare(2)
GET_FLAGS, SET_FLAGS = 0x8913, 0x8914  # requests of netdevice(7)
UP = 1


def leave_network():
    """Enter the namespace; the processes that this thread starts later are in it, too.

    Raises:
        OSError: If the system does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    namespaces = NEW_NETWORK if user == 0 else NEW_NETWORK | NEW_USER
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(namespaces) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"no network namespace: {os.strerror(code)}")
    if user != 0:  # outside of root, only a user namespace of its own allows the network namespace
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    with socket.socket() as any_socket:
        name = struct.pack("16s16x", b"lo")
        (flags,) = struct.unpack_from("H", fcntl.ioctl(any_socket, GET_FLAGS, name), 16)
        request = struct.pack("16sH14x", b"lo", flags | UP)
        fcntl.ioctl(any_socket, SET_FLAGS, request)
