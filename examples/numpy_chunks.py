"""Chunks of any size through a stream: python examples/numpy_chunks.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

import rtsep


def cleaned(chunks: Iterable[np.ndarray], stream: rtsep.Stream) -> Iterator[np.ndarray]:
    """As many samples as went in, aligned with them: what comes before the first sample is left out, the tail added."""
    early = stream.latency
    for chunk in chunks:
        out = stream.process(chunk)
        yield out[min(early, len(out)) :]
        early = max(0, early - len(out))
    yield stream.flush()[early:]


def main() -> None:
    """Any cut of the sound gives the same bits."""
    generator = np.random.default_rng(0)
    sound = generator.normal(0, 0.1, 48000).astype(np.float32)
    model = rtsep.load("denoise")
    cuts = np.sort(generator.integers(0, len(sound), 20))
    in_chunks = np.concatenate(list(cleaned(np.split(sound, cuts), model.stream())))
    at_once = np.concatenate(list(cleaned([sound], model.stream())))
    assert in_chunks.shape == sound.shape
    assert np.array_equal(in_chunks, at_once)
    print(f"{len(cuts) + 1} chunks and one piece give the same {len(at_once)} samples")


if __name__ == "__main__":
    main()
