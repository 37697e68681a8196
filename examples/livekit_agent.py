"""What a LiveKit agent would hear: the default microphone through rtsep. Needs pip install ".[livekit]".

An agent in a room does the same:
    heard = room_io.AudioInputOptions(noise_cancellation=RtsepFrameProcessor())
    await session.start(agent, room=room, room_options=room_io.RoomOptions(audio_input=heard))
"""

import asyncio
import sys

import numpy as np
from livekit import rtc

from rtsep.integrations.livekit import RtsepFrameProcessor


def level(frame: rtc.AudioFrame) -> float:
    """dB re full scale."""
    samples = np.frombuffer(frame.data, np.int16) / 32768
    return 10 * np.log10(np.mean(np.square(samples)) + 1e-12)


async def listen(track: rtc.Track, frames: int | None = None) -> list[float]:
    """Levels of the clean frames, of 10 ms each; for ever, or of so many frames."""
    processor, levels = RtsepFrameProcessor(), []
    print(f"Clean sound comes {processor.delay_ms:.1f} ms later; no key is needed up to here.")
    stream = rtc.AudioStream(track, sample_rate=48000, num_channels=1, frame_size_ms=10, noise_cancellation=processor)
    async for event in stream:  # here an agent would hand event.frame to its recogniser
        levels.append(level(event.frame))
        if len(levels) % 100 == 0:
            print(f"{levels[-1]:6.1f} dB")
        if frames is not None and len(levels) >= frames:
            break
    await stream.aclose()
    return levels


async def main() -> None:
    devices = rtc.MediaDevices(input_sample_rate=48000, num_channels=1)
    try:
        # LiveKit's own noise suppression before rtsep would take the noise that rtsep needs to know.
        microphone = devices.open_input(noise_suppression=False, auto_gain_control=False)
    except Exception as error:  # PortAudio's, of several kinds
        sys.exit(f"The microphone cannot be opened ({error}).")
    await listen(rtc.LocalAudioTrack.create_audio_track("microphone", microphone.source))


if __name__ == "__main__":
    asyncio.run(main())
