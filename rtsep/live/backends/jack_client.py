"""A small JACK client whose process callback is compiled: it plays a signal and records what comes back.

It is the measuring instrument of `rtsep bench live` and of the tests, run as a process of its own with the arguments

    SIGNAL.npy RECORDING.npy DESTINATION SOURCE

It plays SIGNAL (float32, mono) into the port DESTINATION, records the port SOURCE just as long, and prints one JSON
object. libjack is called through ctypes (JACK Audio Connection Kit, jack/jack.h), so nothing need be installed for it.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time

import numpy as np
from llvmlite import binding

from rtsep.engine.native_function import NativeFunction
from rtsep.errors import RtsepError
from rtsep.live.backends.jack_library import AUDIO, INPUT, NO_START, OUTPUT, library
from rtsep.live.backends.jack_names import to_bytes, to_text

SIZE, AT, GO, XRUNS, BEATS, OUT, IN = range(7)  # words of the client
WORDS = 8
_SILENT_S = 30.0  # without a callback for so long, the server is no more


def _callback(name: str, signature: str) -> NativeFunction:
    return NativeFunction("rtsep.live.backends.jack_client_callback", name, signature)


_process = _callback("process", "int32(uint32, voidptr)")
_xrun = _callback("xrun", "int32(voidptr)")


class JackClient:
    """One client with an output and an input port. ``probe`` plays and records at the same time, sample by sample."""

    def __init__(self, name: str = "rtsep-probe", size: int = 0) -> None:
        """size: samples that a probe may be long. Raises RtsepError when no server answers."""
        self.jack = library()
        status = ctypes.c_int(0)
        self.client = self.jack.jack_client_open(to_bytes(name), NO_START, ctypes.byref(status))
        if not self.client:
            raise RtsepError("No JACK server answers; start one.")
        self.out = self.jack.jack_port_register(self.client, b"out", AUDIO, OUTPUT, 0)
        self.inp = self.jack.jack_port_register(self.client, b"in", AUDIO, INPUT, 0)
        self.words = np.zeros(WORDS + size, np.int64)
        self.signals = self.words[WORDS:].view(np.float32)
        self.words[[SIZE, OUT, IN]] = size, self.out, self.inp
        # Symbols of libjack are looked up by LLVM, which knows what is loaded for everybody.
        binding.add_symbol("jack_port_get_buffer", ctypes.cast(self.jack.jack_port_get_buffer, ctypes.c_void_p).value)
        user = self.words.ctypes.data
        self.jack.jack_set_process_callback(self.client, _process.address, user)
        self.jack.jack_set_xrun_callback(self.client, _xrun.address, user)
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
            names.append(to_text(found[len(names)]))
        return names

    def connect(self, source: str, target: str) -> None:
        """Raises RtsepError when one of the ports does not exist. Connected already is fine."""
        if self.jack.jack_connect(self.client, to_bytes(source), to_bytes(target)) not in (0, 17):
            raise RtsepError(f"JACK cannot connect {source} to {target}; there are {', '.join(self.ports())}.")

    def disconnect(self, source: str, target: str) -> None:
        self.jack.jack_disconnect(self.client, to_bytes(source), to_bytes(target))

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
