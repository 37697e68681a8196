"""The audio filter in Pipecat's own input transport and pipeline: no server and no key."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

pytest.importorskip("pipecat")

from pipecat.frames.frames import (
    FilterEnableFrame,
    FilterUpdateSettingsFrame,
    InputAudioRawFrame,
    StartFrame,
)
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams

from rtsep.integrations.pcm import PcmCleaner
from rtsep.integrations.pipecat import RtsepFilter
from tests.integrations.test_pcm import RATES, pcm


class Microphone(BaseInputTransport):
    """Is ready at once; frames come down the pipeline."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)


@pytest.mark.parametrize("rate", RATES)
def test_frames_of_a_transport_are_cleaned(rate: int) -> None:
    sound, size = pcm(rate, 0.3), rate // 100
    pieces = [sound[at : at + size].tobytes() for at in range(0, len(sound), size)]

    async def run() -> list[bytes]:
        params = TransportParams(
            audio_in_enabled=True, audio_in_sample_rate=rate, audio_in_filter=RtsepFilter("denoise-small")
        )
        frames = [InputAudioRawFrame(audio=piece, sample_rate=rate, num_channels=1) for piece in pieces]
        sent = [*frames, SleepFrame(sleep=0.5)]
        down, _ = await run_test(Microphone(params), frames_to_send=sent, start_timeout=60.0)
        return [frame.audio for frame in down if isinstance(frame, InputAudioRawFrame)]

    out, cleaner = asyncio.run(asyncio.wait_for(run(), 120)), PcmCleaner(rate, model="denoise-small")
    assert len(out) > 10
    assert out == [cleaner.process(piece) for piece in pieces[: len(out)]]


def test_off_is_the_original_as_late_as_the_clean_sound() -> None:
    async def run() -> tuple[RtsepFilter, bytes, bytes]:
        made = RtsepFilter()
        sound = pcm(16000, 1.0)
        assert await made.filter(sound.tobytes()) == sound.tobytes(), "before it is started nothing is done"
        await made.start(16000)
        await made.process_frame(FilterEnableFrame(enable=False))
        off = await made.filter(sound.tobytes())
        await made.process_frame(FilterEnableFrame(enable=True))
        await made.process_frame(FilterUpdateSettingsFrame(settings={"strength": 30.0}))
        assert made._cleaner is not None and made._cleaner.strength == 30.0
        on = await made.filter(sound.tobytes())
        return made, off, on

    made, off, on = asyncio.run(run())
    sound, delay = pcm(16000, 1.0)[:, 0], round(made.delay_ms * 16)
    late = np.frombuffer(off, np.int16)
    assert np.array_equal(late[8000:], sound[8000 - delay : -delay]), "bit for bit once the ramp is over"
    assert np.square(np.frombuffer(on, np.int16).astype(float)).mean() < np.square(late.astype(float)).mean() / 1.5
    asyncio.run(made.stop())
    assert made.delay_ms == 0.0
