"""WebRTC's noise suppression at its strongest useful level, through the webrtc-noise-gain wheel: 16 kHz, 16 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers.peer import Peer

if TYPE_CHECKING:
    from benchmarks.peers.peer import Audio


class WebRTC(Peer):
    """No gain control; the wheel always adds WebRTC's high-pass filter, as a call would."""

    name = "webrtc-ns-3"
    package = "webrtc-noise-gain"
    sample_rate = 16_000
    frame = 160
    delay = 96  # tests find it by cross-correlation
    parameters = None
    level = 3

    def __init__(self) -> None:
        from webrtc_noise_gain import AudioProcessor

        self._processor = AudioProcessor(0, self.level)

    def process(self, frame: Audio) -> Audio:
        pcm = np.clip(np.rint(frame * 32768), -32768, 32767).astype("<i2")
        return np.frombuffer(self._processor.Process10ms(pcm.tobytes()).audio, "<i2").astype(np.float32) * np.float32(
            1 / 32768
        )
