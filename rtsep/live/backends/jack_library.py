"""libjack, called through ctypes (JACK Audio Connection Kit, jack/jack.h), so that nothing need be installed for it."""

from __future__ import annotations

import ctypes
import ctypes.util

from rtsep.errors import RtsepError

AUDIO = b"32 bit float mono audio"
INPUT, OUTPUT = 1, 2  # JackPortIsInput, JackPortIsOutput
NO_START = 1  # JackNoStartServer


def library() -> ctypes.CDLL:
    """libjack; raises RtsepError where there is none."""
    name = ctypes.util.find_library("jack") or "libjack.so.0"
    try:
        jack = ctypes.CDLL(name)
    except OSError:
        raise RtsepError("libjack was not found; install JACK (Debian and Ubuntu: sudo apt install jackd2).") from None
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    jack.jack_client_open.restype = pointer
    jack.jack_client_open.argtypes = [text, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
    jack.jack_port_register.restype = pointer
    jack.jack_port_register.argtypes = [pointer, text, text, ctypes.c_ulong, ctypes.c_ulong]
    for name in ("jack_port_name", "jack_get_client_name"):
        getattr(jack, name).restype = text
        getattr(jack, name).argtypes = [pointer]
    jack.jack_port_flags.argtypes = [pointer]
    for name in ("jack_set_process_callback", "jack_set_xrun_callback"):
        getattr(jack, name).argtypes = [pointer, pointer, pointer]
    for name in ("jack_connect", "jack_disconnect"):
        getattr(jack, name).argtypes = [pointer, text, text]
    for name in ("jack_activate", "jack_deactivate", "jack_client_close"):
        getattr(jack, name).argtypes = [pointer]
    for name in ("jack_get_sample_rate", "jack_get_buffer_size"):
        getattr(jack, name).argtypes = [pointer]
        getattr(jack, name).restype = ctypes.c_uint32
    jack.jack_set_freewheel.argtypes = [pointer, ctypes.c_int]
    for name in ("jack_get_ports", "jack_port_get_all_connections"):
        getattr(jack, name).restype = ctypes.POINTER(text)
    jack.jack_port_get_all_connections.argtypes = [pointer, pointer]
    jack.jack_free.argtypes = [pointer]
    jack.jack_get_ports.argtypes = [pointer, text, text, ctypes.c_ulong]
    return jack


def server_period() -> int:
    """Frames that the running server hands over at once; 0 where none answers."""
    try:
        jack = library()
    except RtsepError:
        return 0
    status = ctypes.c_int(0)
    client = jack.jack_client_open(b"rtsep-period", NO_START, ctypes.byref(status))
    if not client:
        return 0
    period = int(jack.jack_get_buffer_size(client))
    jack.jack_client_close(client)
    return period
