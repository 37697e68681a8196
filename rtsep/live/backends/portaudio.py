"""Sound devices by way of PortAudio, behind a protocol small enough for another audio system to take its place."""

from __future__ import annotations

import contextlib
import ctypes
import locale
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rtsep.errors import RtsepError
from rtsep.live.backends import realtime
from rtsep.live.backends.jack_names import to_text
from rtsep.live.backends.jack_stand_ins import StandIns
from rtsep.live.routing.devices import JACK, OWN_NAME, PATTERN, Device

LOW_LATENCY, HIGH_LATENCY = "low", "high"
_client = ctypes.create_string_buffer(64)  # PortAudio keeps the pointer, so the name lives as long as the process


@dataclass(frozen=True)
class StreamRequest:
    """A stream that is asked for.

    source, target: devices, of which one may be None. channels: of input and output. rate: Hz. block: frames a
    callback, 0 lets the server decide. callback: has the ``address`` of a C function (see ``stream_callback``). user:
    address that it is given. latency: LOW_LATENCY, or HIGH_LATENCY where steadiness is worth more.
    """

    source: Device | None
    target: Device | None
    channels: tuple[int, int]
    rate: int
    block: int
    callback: Any
    user: int
    latency: str = LOW_LATENCY


class AudioStream(Protocol):
    """A stream that was opened."""

    @property
    def active(self) -> bool:
        """Whether its callback is still called, as far as the audio system knows."""

    def start(self) -> None:
        """Raises AudioError."""

    def close(self) -> None:
        """May hang when the server has died."""


class AudioBackend(Protocol):
    """An audio system."""

    def devices(self) -> list[Device]:
        """All devices, in the system's order."""

    def supports(self, kind: str, device: Device, rate: int, channels: int) -> bool:
        """Whether ``device`` takes ``rate`` Hz as ``kind``, "input" or "output"."""

    def open(self, request: StreamRequest) -> AudioStream:
        """Raises AudioError."""


class AudioError(RtsepError):
    """What the audio system says when it refuses."""


@contextlib.contextmanager
def _bytes_as_characters() -> Iterator[None]:
    """LC_CTYPE is "C" in here, for the whole process.

    PortAudio finds JACK's clients by a regular expression. Where a name is not UTF-8 that fails, and PortAudio goes on
    with an address that was never set: a name of anything that lies in memory, or a crash. In the "C" locale every byte
    is a character.
    """
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


class PortAudio:
    """PortAudio, initialised now, so that its list of devices is today's."""

    _stand_ins = StandIns([])  # PortAudio is there once in a process, and so are they

    def __init__(self, client: str = OWN_NAME) -> None:
        """client: our name among the JACK clients. Raises RtsepError when PortAudio is not there."""
        try:
            with _bytes_as_characters():  # it initialises PortAudio as well
                import sounddevice
        except OSError:
            raise RtsepError(
                "PortAudio was not found; install it (Debian and Ubuntu: sudo apt install libportaudio2)."
            ) from None
        if sounddevice._initialized:
            sounddevice._terminate()
        _client.value = client.encode()
        with contextlib.suppress(AttributeError, OSError):  # a PortAudio without JACK has no such function
            ctypes.CDLL(sounddevice._libname).PaJack_SetClientName(_client)
        with _bytes_as_characters():
            sounddevice._initialize()
        self._sounddevice: Any = sounddevice
        PortAudio._stand_ins.close()
        strange = [name for name, host in self._names() if host == JACK and (PATTERN & set(name) or not name.isascii())]
        PortAudio._stand_ins = StandIns(strange)
        if self._stand_ins.names:  # it sees them when it looks again
            sounddevice._terminate()
            with _bytes_as_characters():
                sounddevice._initialize()
        self.version: str = sounddevice.get_portaudio_version()[1].partition(",")[0]

    def devices(self) -> list[Device]:
        """See AudioBackend."""
        hosts: Sequence[Any] = self._sounddevice.query_hostapis()
        real = self._stand_ins.names
        return [
            Device(
                index=entry["index"],
                name=real.get(entry["name"], entry["name"]),
                host=hosts[entry["hostapi"]]["name"],
                inputs=entry["max_input_channels"],
                outputs=entry["max_output_channels"],
                rate=round(entry["default_samplerate"]),
                default_input=hosts[entry["hostapi"]]["default_input_device"] == entry["index"],
                default_output=hosts[entry["hostapi"]]["default_output_device"] == entry["index"],
            )
            for entry in self._entries()
            if entry["name"] not in real.values() or hosts[entry["hostapi"]]["name"] != JACK
        ]

    def _names(self) -> list[tuple[str, str]]:
        """Of every device, with that of its host API."""
        hosts: Sequence[Any] = self._sounddevice.query_hostapis()
        return [(entry["name"], hosts[entry["hostapi"]]["name"]) for entry in self._entries()]

    def _entries(self) -> list[dict[str, Any]]:
        """sounddevice's dictionaries, with names that are not UTF-8 as Python keeps those of files."""
        sounddevice, entries = self._sounddevice, []
        for index in range(sounddevice._lib.Pa_GetDeviceCount()):
            try:
                entries.append(sounddevice.query_devices(index))
            except UnicodeDecodeError:
                info = sounddevice._lib.Pa_GetDeviceInfo(index)
                entries.append(
                    {
                        "index": index,
                        "name": to_text(sounddevice._ffi.string(info.name)),
                        "hostapi": info.hostApi,
                        "max_input_channels": info.maxInputChannels,
                        "max_output_channels": info.maxOutputChannels,
                        "default_samplerate": info.defaultSampleRate,
                    }
                )
        return entries

    def supports(self, kind: str, device: Device, rate: int, channels: int) -> bool:
        """See AudioBackend."""
        check = getattr(self._sounddevice, f"check_{kind}_settings")
        try:
            check(device.index, channels, "float32", samplerate=rate)
        except (self._sounddevice.PortAudioError, ValueError):
            return False
        return True

    def open(self, request: StreamRequest) -> _PortAudioStream:
        """See AudioBackend."""
        ffi, source, target = self._sounddevice._ffi, request.source, request.target
        ends = [device for device in (source, target) if device is not None]
        one = len(ends) == 1
        try:
            stream = self._sounddevice._StreamBase(
                "duplex" if not one else "input" if source is not None else "output",
                samplerate=request.rate,
                blocksize=request.block,
                device=ends[0].index if one else tuple(end.index for end in ends),
                channels=request.channels[source is None] if one else request.channels,
                dtype="float32",
                latency=request.latency,
                callback=ffi.cast("PaStreamCallback*", request.callback.address),
                userdata=ffi.cast("void*", request.user),
            )
        except (self._sounddevice.PortAudioError, ValueError) as error:
            raise AudioError(_reason(error)) from None
        # On any other host's stream it would write anywhere. And a plugin such as PulseAudio's, waited for at real-time
        # priority, may never get the time to answer.
        if ends[0].host == "ALSA" and "(hw:" in ends[0].name:
            realtime.enable_alsa_realtime(self._sounddevice, stream)
        stand_ins = self._stand_ins if ends[0].host == JACK else None
        return _PortAudioStream(self._sounddevice, stream, request.callback, stand_ins)


class _PortAudioStream:
    """See AudioStream."""

    def __init__(self, sounddevice: Any, stream: Any, callback: Any, stand_ins: StandIns | None) -> None:
        """callback: kept, because it lives as long as PortAudio may call it. stand_ins: step aside once it runs."""
        self._sounddevice, self._stream, self._callback = sounddevice, stream, callback
        self._stand_ins = stand_ins

    @property
    def active(self) -> bool:
        """See AudioStream."""
        return bool(self._stream.active)

    def start(self) -> None:
        """See AudioStream."""
        try:
            self._stream.start()
            if self._stand_ins is not None:
                self._stand_ins.step_aside()
        except self._sounddevice.PortAudioError as error:
            raise AudioError(_reason(error)) from None

    def close(self) -> None:
        """See AudioStream."""
        self._stream.abort()
        self._stream.close()


def _reason(error: Exception) -> str:
    return str(error).partition(" [")[0]
