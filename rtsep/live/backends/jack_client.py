"""A small JACK client whose process callback is compiled: it plays a signal and records what comes back.

It is the measuring instrument of `rtsep bench live` and of the tests, run as a process of its own with the arguments

    SIGNAL.npy RECORDING.npy DESTINATION SOURCE

It plays SIGNAL (float32, mono) into the port DESTINATION, records the port SOURCE just as long, and prints one JSON
object. libjack is called through ctypes (JACK Audio Connection Kit, jack/jack.h), so nothing need be installed for it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import sys
import time
from typing import Any

import numpy as np
from numba import carray, types

from rtsep.engine.numba_cache import c_function
from rtsep.errors import RtsepError

AUDIO = b"32 bit float mono audio"
INPUT, OUTPUT = 1, 2  # JackPortIsInput, JackPortIsOutput
NO_START = 1  # JackNoStartServer
SIZE, AT, GO, XRUNS, BEATS, OUT, IN = range(7)  # words of the client
_WORDS = 8
_SILENT_S = 30.0  # without a callback for so long, the server is no more


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


_get_buffer: Any = types.ExternalFunction("jack_port_get_buffer", types.voidptr(types.intp, types.uint32))


def _process(frames, user):
    """JackProcessCallback: the next samples out, what came in beside them down."""
    words = carray(user, (_WORDS,), np.int64)
    size = words[SIZE]
    signals = carray(user, (2 * _WORDS + 2 * size,), np.float32)
    out = carray(_get_buffer(words[OUT], frames), (frames,), np.float32)
    source = carray(_get_buffer(words[IN], frames), (frames,), np.float32)
    words[BEATS] += 1
    at = words[AT]
    going = words[GO] == 1
    for i in range(frames):
        out[i] = np.float32(0.0)
        if going and at < size:
            out[i] = signals[2 * _WORDS + at]
            signals[2 * _WORDS + size + at] = source[i]
            at += 1
    words[AT] = at
    return 0


def _xrun(user):
    words = carray(user, (_WORDS,), np.int64)
    words[XRUNS] += 1
    return 0


class JackClient:
    """One client with an output and an input port. ``probe`` plays and records at the same time, sample by sample."""

    def __init__(self, name: str = "rtsep-probe", size: int = 0) -> None:
        """size: samples that a probe may be long. Raises RtsepError when no server answers."""
        self.jack = library()
        status = ctypes.c_int(0)
        self.client = self.jack.jack_client_open(name.encode(), NO_START, ctypes.byref(status))
        if not self.client:
            raise RtsepError("No JACK server answers; start one.")
        self.out = self.jack.jack_port_register(self.client, b"out", AUDIO, OUTPUT, 0)
        self.inp = self.jack.jack_port_register(self.client, b"in", AUDIO, INPUT, 0)
        self.words = np.zeros(_WORDS + size, np.int64)
        self.signals = self.words[_WORDS:].view(np.float32)
        self.words[[SIZE, OUT, IN]] = size, self.out, self.inp
        # Symbols of libjack are looked up by LLVM, which knows what is loaded for everybody.
        import llvmlite.binding

        address = ctypes.cast(self.jack.jack_port_get_buffer, ctypes.c_void_p).value
        llvmlite.binding.add_symbol("jack_port_get_buffer", address)
        self._process = c_function(_process, types.int32(types.uint32, types.voidptr))
        self._xrun = c_function(_xrun, types.int32(types.voidptr))
        user = self.words.ctypes.data
        self.jack.jack_set_process_callback(self.client, self._process.address, user)
        self.jack.jack_set_xrun_callback(self.client, self._xrun.address, user)
        self.jack.jack_activate(self.client)

    @property
    def rate(self) -> int:
        return int(self.jack.jack_get_sample_rate(self.client))

    @property
    def period(self) -> int:
        return int(self.jack.jack_get_buffer_size(self.client))

    def ports(self, pattern: str = "") -> list[str]:
        """Names of all ports that match the regular expression."""
        found = self.jack.jack_get_ports(self.client, pattern.encode(), None, 0)
        names: list[str] = []
        while found and found[len(names)]:
            names.append(found[len(names)].decode())
        return names

    def connect(self, source: str, target: str) -> None:
        """Raises RtsepError when one of the ports does not exist. Connected already is fine."""
        if self.jack.jack_connect(self.client, source.encode(), target.encode()) not in (0, 17):
            raise RtsepError(f"JACK cannot connect {source} to {target}; there are {', '.join(self.ports())}.")

    def disconnect(self, source: str, target: str) -> None:
        self.jack.jack_disconnect(self.client, source.encode(), target.encode())

    def probe(self, signal: np.ndarray, patience: float = 10.0) -> np.ndarray:
        """Play ``signal`` [samples] float32 and return what came in meanwhile, sample n beside sample n.

        Raises RtsepError when the server takes ``patience`` seconds longer than the signal lasts.
        """
        size = len(signal)
        self.signals[:size] = signal
        self.words[[SIZE, AT]] = size, 0
        self.words[GO] = 1
        end = time.monotonic() + size / self.rate + patience
        beats, beaten = -1, 0.0
        while self.words[AT] < size:
            now = time.monotonic()
            if self.words[BEATS] != beats:
                beats, beaten = int(self.words[BEATS]), now
            if now > end or now - beaten > _SILENT_S:
                raise RtsepError("The JACK server stopped while the probe was playing.")
            time.sleep(0.01)
        self.words[GO] = 0
        return self.signals[size : 2 * size].copy()

    def freewheel(self, on: bool) -> None:
        """Let the server run as fast as its clients can, or at its rate again."""
        self.jack.jack_set_freewheel(self.client, int(on))

    def close(self) -> None:
        self.jack.jack_deactivate(self.client)
        self.jack.jack_client_close(self.client)


def _main(arguments: list[str]) -> None:
    signal_path, recording_path, target, source = arguments[:4]
    signal = np.load(signal_path).astype(np.float32)
    client = JackClient(size=len(signal))
    own_out, own_in = "rtsep-probe:out", "rtsep-probe:in"
    client.connect(own_out, target if target != "-" else own_in)
    if source != "-":
        client.connect(source, own_in)
    time.sleep(0.1)
    xruns = int(client.words[XRUNS])
    if "--freewheel" in arguments:
        client.freewheel(True)
    recording = client.probe(signal, patience=60.0)
    if "--freewheel" in arguments:
        client.freewheel(False)
    np.save(recording_path, recording)
    result = {"rate": client.rate, "period": client.period, "xruns": int(client.words[XRUNS]) - xruns}
    client.close()
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1:])
