"""A Pipecat pipeline that hears the default microphone through rtsep. Needs pip install ".[pipecat]", and no key."""

import asyncio
import sys

import numpy as np
import sounddevice
from pipecat.frames.frames import Frame, InputAudioRawFrame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from rtsep.integrations.pipecat import RtsepFilter

RATE = 16000


class Microphone(BaseInputTransport):
    """The default input device, as any transport would be: whatever it hears goes through the filter."""

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        loop = asyncio.get_running_loop()

        def heard(sound, *_) -> None:
            audio = InputAudioRawFrame(audio=bytes(sound), sample_rate=RATE, num_channels=1)
            asyncio.run_coroutine_threadsafe(self.push_audio_frame(audio), loop)

        self.device = sounddevice.RawInputStream(RATE, RATE // 100, channels=1, dtype="int16", callback=heard)
        self.device.start()


class Meter(FrameProcessor):
    """Prints the level of what comes through; recogniser, language model and voice would follow it."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            print(f"{20 * np.log10(np.std(np.frombuffer(frame.audio, np.int16)) / 32768 + 1e-6):6.1f} dB", end="\r")
        await self.push_frame(frame, direction)


async def main() -> None:
    params = TransportParams(audio_in_enabled=True, audio_in_sample_rate=RATE, audio_in_filter=RtsepFilter())
    runner = WorkerRunner()
    await runner.add_workers(PipelineWorker(Pipeline([Microphone(params), Meter()])))
    await runner.run()


if __name__ == "__main__":
    try:
        sounddevice.check_input_settings(channels=1, dtype="int16", samplerate=RATE)
    except (sounddevice.PortAudioError, ValueError) as error:
        sys.exit(f"The microphone cannot be opened ({error}).")
    asyncio.run(main())
