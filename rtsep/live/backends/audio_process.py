"""The audio process: owns the devices and nothing else, because PortAudio may hang or abort when a server goes away.

Started with the shared block's handle and settings as JSON, it opens the devices, says so on standard output (a JSON
object a line) and sleeps until the shared block, or the parent's end, tells it to stop. All sound happens in the
compiled callback. Settings, for microphones, players and the empty pass-through alike:

callback: LIVE, PLAYER or PASSTHROUGH of ``processes``. variant: of the live callback, see there. input, output:
devices by name, part of it or number, None is the default; a player has no input. rate: Hz wanted. block: frames wanted
or None. client: our name among JACK's clients. input_channels: that the device must give. model: path. threaded_worker:
its worker runs as a thread here. step_hosts: audio systems whose callback may be asked to run it, None is all.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from rtsep.engine.enhance import BACKEND
from rtsep.errors import RtsepError
from rtsep.live.backends import callbacks, realtime
from rtsep.live.backends.clock_rates import MIN_MARGIN_S, nominal_rate
from rtsep.live.backends.jack_library import server_period
from rtsep.live.backends.portaudio import (
    HIGH_LATENCY,
    LOW_LATENCY,
    AudioBackend,
    AudioError,
    AudioStream,
    PortAudio,
    StreamRequest,
)
from rtsep.live.backends.resampler_table import table
from rtsep.live.backends.shared_state import Fields, SharedBlock
from rtsep.live.backends.step_keeper import StepKeeper
from rtsep.live.engine.processes import PASSTHROUGH, PLAYER, say, say_not_compiled
from rtsep.live.routing.devices import JACK, Device, block_size, find, pair, player_block_size, two_clocks
from rtsep.live.routing.sound_server import devices_of_server
from rtsep.model import MAX_RATE, MIN_RATE, load

_PATIENCE_S = 15.0  # until the first callbacks must have come
_STEADY = 4  # callbacks of one size that settle what the block is
_LOOK_S = 0.02
_PORTAUDIO_BUFFER = 1024
_OTHER_RATES = (48000, 96000, 44100, 192000)  # tried when a device's own is none that rtsep works at


class Streams:
    """A session's streams: one for both ends, or, where they have clocks of their own, one for each; or an output.

    source, target: devices; source is None for a player. rate: Hz of the output. separate: whether there are two.
    """

    def __init__(self, backend: AudioBackend, block: SharedBlock, settings: dict[str, Any]) -> None:
        """Open them, without starting. Raises InputError or RtsepError when that fails."""
        self._backend, self._block, self._settings = backend, block, settings
        devices = backend.devices()
        devices += devices_of_server(devices)
        self.source: Device | None = None
        if settings["callback"] == PLAYER:
            self.target = find(devices, settings["output"], "output")
        else:
            self.source, self.target = pair(devices, settings["input"], settings["output"])
        # ALSA's way to the server looks for the names of its devices there.
        self.server_input = self.source.name if self.source and self.source.of_server else None
        self.server_output = self.target.name if self.target.of_server else None
        for variable, name in (("PULSE_SOURCE", self.server_input), ("PULSE_SINK", self.server_output)):
            if name is not None:
                os.environ[variable] = name
        # A mix of channels or a later one needs more of them than are heard.
        wanted = max(block.channels, settings.get("input_channels") or 1)
        self.channels = (min(wanted, self.source.inputs) if self.source else 0, min(2, self.target.outputs))
        if settings["callback"] == PASSTHROUGH:
            self.channels = (1, 1)
        block.state.input_channels, block.state.output_channels = self.channels
        self.separate = self.source is not None and two_clocks(self.source, self.target)
        self.streams: list[AudioStream] = []
        try:
            self._open()
        except AudioError as error:
            raise self._refused(error) from None
        block.clocks.separate = int(self.separate)

    def _open(self) -> None:
        source, target = self.source, self.target
        size = player_block_size if source is None else block_size
        rates = [self._rate("output", target, self.channels[1])]
        if source is not None:
            rates.append(self._rate("input", source, self.channels[0]))
        if self.separate and source is not None:
            self.rate = nominal_rate(rates[0])
            clocks = self._block.clocks
            clocks.rate = nominal_rate(rates[1])
            clocks.margin = round(MIN_MARGIN_S * clocks.rate)
            self._block.taps[:] = table(clocks.rate / self.rate)
            self.streams = [
                self._stream(None, target, rates[0], block_size(self._settings["block"], target, target)),
                self._stream(source, None, rates[1], block_size(self._settings["block"], source, source)),
            ]
        else:
            self.rate = rates[0] if len(set(rates)) == 1 else target.rate
            block = size(self._settings["block"], source or target, target)
            self.streams = [self._stream(source, target, self.rate, block)]

    def _rate(self, kind: str, device: Device, channels: int) -> int:
        """The rate wanted where the device takes it, else the device's own, else one that rtsep works at.

        Raises RtsepError when there is none.
        """
        for rate in (self._settings["rate"], device.rate, *_OTHER_RATES):
            if MIN_RATE <= rate <= MAX_RATE and (
                self._backend.supports(kind, device, rate, channels) or rate == device.rate
            ):
                return rate
        raise RtsepError(
            f"{device} runs at {device.rate} Hz and rtsep at {MIN_RATE} to {MAX_RATE}; set it to 48000 Hz, or choose "
            f"another with --{kind}."
        )

    def _stream(self, source: Device | None, target: Device | None, rate: int, block: int) -> AudioStream:
        kind = self._settings["callback"]
        if target is None:
            callback = callbacks.capturing
        elif kind == PLAYER:
            callback = callbacks.playing
        elif kind == PASSTHROUGH:
            callback = callbacks.passing
        else:
            callback = callbacks.LIVE_CALLBACKS[self._settings.get("variant") or ""]
        latency = HIGH_LATENCY if kind == PLAYER else LOW_LATENCY
        address = self._block.address
        return self._backend.open(StreamRequest(source, target, self.channels, rate, block, callback, address, latency))

    def start(self) -> None:
        """Raises RtsepError when the devices refuse."""
        try:
            for stream in self.streams:
                stream.start()
        except AudioError as error:
            raise self._refused(error) from None

    @property
    def active(self) -> bool:
        """Whether all are still running, as far as the audio system knows."""
        return all(stream.active for stream in self.streams)

    def close(self) -> None:
        """May hang when the server has died."""
        for stream in self.streams:
            stream.close()

    def _refused(self, error: Exception) -> RtsepError:
        if self.source is None:
            return RtsepError(f"{self.target} cannot be opened ({error}); choose another with --output.")
        return RtsepError(f"{self.source} and {self.target} cannot be opened together ({error}); choose others.")


def run(handle: str, settings: dict[str, Any]) -> None:
    """Open, report, and sleep until told to stop. Raises RtsepError when the devices cannot be opened."""
    block = SharedBlock.attach(handle)
    state = block.state
    realtime.lock_memory()
    state.step_running = state.step_busy = 0
    streams = Streams(PortAudio(settings["client"]), block, settings)
    keeper, model = None, None
    hosts = settings.get("step_hosts", [])
    inside, threaded = hosts is None or streams.target.host in hosts, settings.get("threaded_worker")
    if (inside and not state.without_model) or threaded:
        model = load(settings["model"], BACKEND)
    if inside:
        keeper = StepKeeper(block, None if state.without_model else model)
    if threaded and model is not None:  # the portable way: the worker is a thread of this process
        from rtsep.live.engine import worker

        say_not_compiled(model)
        worker.thread(block, model)
    before = state.callbacks, block.clocks.callbacks
    streams.start()
    frames = _settled_block(state, before[0])
    if streams.separate:
        _settled_block(block.clocks, before[1])
    say(
        "opened",
        input=streams.source.name if streams.source else None,
        output=streams.target.name,
        server_input=streams.server_input,
        server_output=streams.server_output,
        host=streams.target.host,
        separate_clocks=streams.separate,
        rate=streams.rate,
        block=frames,
        period=_period(streams.target, frames),
        channels=streams.channels,
        pid=os.getpid(),
        step_refusal=keeper.refusal if keeper else None,
        step_ms=keeper.step_ms if keeper else None,
    )
    realtime.stop_garbage_collection()
    realtime.release_compiler()
    while not state.stop:
        time.sleep(_LOOK_S)
        if keeper is not None:
            keeper.look()
        if not streams.active and not state.stop:
            raise RtsepError("The sound system ended the stream.")
    closing = threading.Thread(target=streams.close, daemon=True)
    closing.start()
    closing.join(1.0)  # for ever, when the server has died


def _period(target: Device, frames: int) -> int:
    """Frames that come at once. PortAudio cuts JACK's periods into pieces where they are larger than its own buffer."""
    return max(frames, server_period()) if target.host == JACK and frames == _PORTAUDIO_BUFFER else frames


def _settled_block(record: Fields, before: int) -> int:
    """Frames a callback, once several in a row had as many; record: its ``callbacks`` and ``frames`` are looked at."""
    end = time.monotonic() + _PATIENCE_S
    seen, last, steady = before, 0, 0
    while time.monotonic() < end:
        count, frames = record.callbacks, record.frames
        if count > seen:
            steady = steady + 1 if frames == last else 1
            seen, last = count, frames
            if steady >= _STEADY:
                return frames
        time.sleep(0.001)
    if last:
        return last
    raise RtsepError("The device was opened but gives no sound; close other programs that use it, or choose another.")


def _main(handle: str, settings: str) -> None:
    """One sentence if it fails; no end: PortAudio's own may hang or abort, and the system closes all just as well."""
    realtime.end_with_parent(sys.stdin.buffer)
    code = 0
    try:
        run(handle, json.loads(settings))
    except RtsepError as error:
        code = error.exit_code
        say("error", sentence=str(error), code=code)
    except Exception as error:
        code = 1
        say("error", sentence=f"The sound system failed ({type(error).__name__}: {error}).", code=code)
    os._exit(code)


if __name__ == "__main__":
    _main(*sys.argv[1:])
