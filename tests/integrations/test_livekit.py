"""The frame processor in LiveKit's own audio stream, on a local track: no server and no key."""

from __future__ import annotations

import asyncio

import pytest

from rtsep.errors import InputError

rtc = pytest.importorskip("livekit.rtc")

from rtsep.integrations.livekit import RtsepFrameProcessor  # noqa: E402
from rtsep.integrations.pcm import PcmCleaner  # noqa: E402
from tests.integrations.test_pcm import RATES, pcm  # noqa: E402


class Kept(RtsepFrameProcessor):
    """Keeps what it was given."""

    def __init__(self, sample_rate: int) -> None:
        super().__init__("denoise-small", sample_rate=sample_rate)
        self.heard: list[bytes] = []

    def _process(self, frame: rtc.AudioFrame) -> rtc.AudioFrame:
        self.heard.append(bytes(frame.data))
        return super()._process(frame)


async def played(track: rtc.LocalAudioTrack, source: rtc.AudioSource, processor: Kept, rate: int) -> list[bytes]:
    """What comes out of an audio stream while some noise goes into its track."""
    stream = rtc.AudioStream(track, sample_rate=rate, num_channels=1, frame_size_ms=10, noise_cancellation=processor)
    sound, out = pcm(rate, 0.3), []

    async def feed() -> None:
        while True:
            for at in range(0, len(sound), rate // 100):
                piece = sound[at : at + rate // 100]
                await source.capture_frame(rtc.AudioFrame(piece.tobytes(), rate, 1, len(piece)))

    feeding = asyncio.create_task(feed())
    async for event in stream:
        frame = event.frame
        assert (frame.sample_rate, frame.num_channels, frame.samples_per_channel) == (rate, 1, rate // 100)
        out.append(bytes(frame.data))
        if sum(any(heard) for heard in processor.heard[: len(out)]) == 15:  # a source begins with silence of its own
            break
    feeding.cancel()
    await stream.aclose()
    return out


@pytest.mark.parametrize("rate", RATES)
def test_frames_of_a_track_are_cleaned(rate: int) -> None:
    async def run() -> tuple[list[bytes], Kept]:
        processor = Kept(rate)
        source = rtc.AudioSource(rate, 1)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        return await asyncio.wait_for(played(track, source, processor, rate), 60), processor

    out, processor = asyncio.run(run())
    heard = processor.heard[: len(out)]
    cleaner = PcmCleaner(rate, model="denoise-small")
    assert out == [cleaner.process(frame) for frame in heard]
    assert processor._cleaner is None, "the stream has closed it"


def test_disabled_frames_and_other_tracks() -> None:
    processor = RtsepFrameProcessor(sample_rate=16000)
    assert isinstance(processor, rtc.FrameProcessor) and processor.enabled and 0 < processor.delay_ms < 11
    frame = rtc.AudioFrame(pcm(16000, 0.01).tobytes(), 16000, 1, 160, userdata={"at": 1})
    first = processor._process(frame)
    again = bytes(processor._process(frame).data)
    assert first.userdata == {"at": 1} and again != bytes(first.data)
    processor._on_stream_info_updated(room_name="room", participant_identity="other", publication_sid="1")
    assert bytes(processor._process(frame).data) == bytes(first.data)
    processor.enabled = False
    processor.enabled = True
    assert bytes(processor._process(frame).data) == bytes(first.data)
    wide = rtc.AudioFrame(pcm(48000, 0.01, 2).tobytes(), 48000, 2, 480)
    assert processor._process(wide).num_channels == 2
    processor._close()
    with pytest.raises(InputError):
        RtsepFrameProcessor(model="karaoke")
