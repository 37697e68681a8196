"""LiveKit: a frame processor that cleans what an agent hears. Needs ``livekit``.

>>> from livekit import rtc
>>> from rtsep.integrations.livekit import RtsepFrameProcessor
>>> stream = rtc.AudioStream(track, noise_cancellation=RtsepFrameProcessor())

In LiveKit Agents the same object goes into ``room_io.AudioInputOptions(noise_cancellation=...)``.
"""

from __future__ import annotations

from livekit import rtc

from rtsep.engine.stream_settings import ASR_STRENGTH_DB
from rtsep.integrations.pcm import MODEL, PcmCleaner, shared_model


class RtsepFrameProcessor(rtc.FrameProcessor[rtc.AudioFrame]):
    """Takes the noise out of one participant's frames, of any rate that rtsep takes; make one for each session.

    All processors of a process share one model's weights.
    """

    def __init__(
        self, model: str = MODEL, strength: float | None = ASR_STRENGTH_DB, sample_rate: int = 48000, channels: int = 1
    ) -> None:
        """strength: most attenuation in dB; None is no limit, for ears and not for recognisers.

        sample_rate, channels: what frames are expected to have, so that the first one does not wait; others are taken
        as well. Raises InputError when a value cannot be.
        """
        shared_model(model)
        self._model, self._strength = model, strength
        self._enabled = True
        self._cleaner: PcmCleaner | None = self._made(sample_rate, channels)
        self._cleaner.process(bytes(2 * channels * (sample_rate // 100)))  # compiled code is loaded now
        self._cleaner.reset()

    @property
    def enabled(self) -> bool:
        """Whether frames are cleaned; LiveKit leaves those of a processor that is not enabled as they are."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        if value and not self._enabled and self._cleaner is not None:
            self._cleaner.reset()  # what it heard last was long ago
        self._enabled = value

    @property
    def delay_ms(self) -> float:
        """By how much clean frames come later, for frames like the last one."""
        return 0.0 if self._cleaner is None else self._cleaner.delay_ms

    def _made(self, sample_rate: int, channels: int) -> PcmCleaner:
        return PcmCleaner(sample_rate, channels, self._model, self._strength)

    def _process(self, frame: rtc.AudioFrame) -> rtc.AudioFrame:
        cleaner = self._cleaner
        if cleaner is None or (cleaner.sample_rate, cleaner.channels) != (frame.sample_rate, frame.num_channels):
            self._cleaner = cleaner = self._made(frame.sample_rate, frame.num_channels)
        clean = cleaner.process(frame.data)
        return rtc.AudioFrame(
            clean, frame.sample_rate, frame.num_channels, frame.samples_per_channel, userdata=frame.userdata
        )

    def _on_stream_info_updated(self, *, room_name: str, participant_identity: str, publication_sid: str) -> None:
        """Another track: nothing of the one before is left."""
        if self._cleaner is not None:
            self._cleaner.reset()

    def _close(self) -> None:
        self._cleaner = None
