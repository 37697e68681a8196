"""Networks, rates and cuts that the tests of streams share."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from graphs import Network
from hypothesis import strategies as st

import rtsep

RATES = [8000, 11025, 12345, 16000, 22050, 32000, 44100, 47999, 48000, 88200, 96000, 192000]
NETWORKS = {
    "plain": Network(),
    "odd sizes": Network(hop=15, analysis_window=77, synthesis_window=40),
    "three hops": Network(synthesis_window=48, analysis_window=48),
    "one hop": Network(synthesis_window=16, channels=2),
    "stereo": Network(channels=2, activity=True),
    "recurrent": Network(state=5, activity=True),
    "slow": Network(state=5, slow_rate=4, activity=True),
    "look-ahead": Network(lookahead=20, state=3, condition=2),
    "tiny hop": Network(hop=2, analysis_window=12, synthesis_window=4),
}
IDENTITY = Network(identity=True)


def noise(*shape: int, seed: int = 0, level: float = 0.3) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def in_pieces(stream: rtsep.Stream, x: np.ndarray, cuts: list[int], **options) -> np.ndarray:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(x)), len(x)]
    pieces = [stream.process(x[a:b], **options) for a, b in pairwise(bounds)]
    return np.concatenate(pieces, axis=1 if options.get("sources") else 0)


CUTS = st.lists(st.integers(1, 3000), max_size=12)
