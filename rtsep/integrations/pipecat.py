"""Pipecat: an audio filter for the input of a transport. Needs ``pipecat-ai``.

>>> from pipecat.transports.base_transport import TransportParams
>>> from rtsep.integrations.pipecat import RtsepFilter
>>> params = TransportParams(audio_in_enabled=True, audio_in_filter=RtsepFilter())
"""

from __future__ import annotations

import asyncio

from pipecat.audio.filters.base_audio_filter import BaseAudioFilter
from pipecat.frames.frames import FilterControlFrame, FilterEnableFrame, FilterUpdateSettingsFrame

from rtsep.engine.stream_settings import ASR_STRENGTH_DB
from rtsep.integrations.pcm import MODEL, PcmCleaner, shared_model


class RtsepFilter(BaseAudioFilter):
    """Takes the noise out of what comes in, mono, at any rate that rtsep takes; make one for each transport.

    All filters of a process share one model's weights. ``FilterEnableFrame`` turns it off and on: off is the original,
    as late as the clean sound, so that nothing jumps. ``FilterUpdateSettingsFrame`` takes ``strength``.
    """

    def __init__(self, model: str = MODEL, strength: float | None = ASR_STRENGTH_DB) -> None:
        """strength: most attenuation in dB; None is no limit, for ears and not for recognisers.

        Raises InputError when a value cannot be.
        """
        shared_model(model)
        self._model, self._strength = model, strength
        self._enabled = True
        self._cleaner: PcmCleaner | None = None

    @property
    def delay_ms(self) -> float:
        """By how much clean sound comes later; 0 before ``start``."""
        return 0.0 if self._cleaner is None else self._cleaner.delay_ms

    async def start(self, sample_rate: int) -> None:
        """Make a stream for ``sample_rate`` Hz; raises InputError when rtsep does not take it."""
        self._cleaner = await asyncio.to_thread(self._made, sample_rate)

    def _made(self, sample_rate: int) -> PcmCleaner:
        cleaner = PcmCleaner(sample_rate, 1, self._model, self._strength if self._enabled else 0.0)
        cleaner.process(bytes(2 * (sample_rate // 100)))  # compiled code is loaded now
        cleaner.reset()
        return cleaner

    async def stop(self) -> None:
        """Give the stream up."""
        self._cleaner = None

    async def process_frame(self, frame: FilterControlFrame) -> None:
        """On, off, or another strength."""
        if isinstance(frame, FilterEnableFrame):
            self._enabled = frame.enable
        elif isinstance(frame, FilterUpdateSettingsFrame) and "strength" in frame.settings:
            self._strength = frame.settings["strength"]
        if self._cleaner is not None:
            self._cleaner.strength = self._strength if self._enabled else 0.0

    async def filter(self, audio: bytes) -> bytes:
        """As many samples as ``audio`` has."""
        return audio if self._cleaner is None else self._cleaner.process(audio)
