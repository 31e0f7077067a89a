"""Keeps new connections away from a listening socket that is about to be closed.

The kernel resets every connection that it has established and the process has not accepted when the socket is closed. A
proxy has sent a request over it by then, and does not repeat one that may have taken effect: its client gets a 502. So
the kernel first drops the packets with which connections begin, while those that have begun are accepted. Who connects
meanwhile tries again within a second, and is then refused, which proxies repeat elsewhere.
"""

import ctypes
import socket
import struct
import sys

# From linux/filter.h; Python has no names for them.
_SO_ATTACH_FILTER = 26
_LOAD_BYTE, _JUMP_IF_ANY_SET, _RETURN = 0x30, 0x45, 0x06
_FLAGS_OFFSET, _SYN = 13, 0x02
_DROP, _PASS = 0, 0xFFFF
# Each: code, jump if true, jump if false, operand. What follows the first is at most two instructions further.
_FILTER = (
    (_LOAD_BYTE, 0, 0, _FLAGS_OFFSET),
    (_JUMP_IF_ANY_SET, 0, 1, _SYN),
    (_RETURN, 0, 0, _DROP),
    (_RETURN, 0, 0, _PASS),
)


def drop_new_connections(listening: socket.socket) -> None:
    """Has the kernel drop attempts to connect to the socket, for as long as it exists. Linux only; elsewhere nothing.

    Raises:
        OSError: the kernel takes no filter.
    """
    if sys.platform != "linux":
        return
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in _FILTER))
    program = struct.pack("@HP", len(_FILTER), ctypes.addressof(instructions))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
