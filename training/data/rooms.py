"""Simulated rooms: impulse responses from pyroomacoustics' image-source method."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np


def simulate_rooms(count: int, rate: int, length: int, seed: int, cache: Path | None = None) -> np.ndarray:
    """Room impulse responses, float32 `[count, length]`, direct sound at sample 0 with unit gain.

    Shoebox rooms of 2.5 to 9 m, reverberation time 0.12 to 0.6 s, source 0.3 to 3 m from the microphone.
    """
    file = cache / f"rooms-{count}-{rate}-{length}-{seed}.npy" if cache else None
    if file and file.exists():
        return np.load(file)
    import pyroomacoustics

    rng = np.random.default_rng(seed)
    responses = np.zeros((count, length), np.float32)
    for index in range(count):
        size = rng.uniform([2.5, 2.5, 2.2], [9.0, 7.0, 3.5])
        absorption, order = pyroomacoustics.inverse_sabine(
            max(rng.uniform(0.12, 0.6), 0.16 * size.prod() ** (1 / 3) / 2), size
        )
        materials = pyroomacoustics.Material(min(absorption, 0.95))
        room = pyroomacoustics.ShoeBox(size, fs=rate, materials=materials, max_order=min(order, 12))
        microphone = rng.uniform(0.4, size - 0.4)
        direction = rng.standard_normal(3)
        source = microphone + direction / np.linalg.norm(direction) * rng.uniform(0.3, 3.0)
        room.add_source(np.clip(source, 0.3, size - 0.3))
        room.add_microphone(microphone)
        room.compute_rir()
        response = np.asarray(room.rir[0][0])
        direct = int(np.argmax(np.abs(response)))
        response = response[direct : direct + length] / response[direct]
        # The image method stops at some order; the last quarter fades so that the response does not end in a step.
        fade = np.clip((length - np.arange(len(response))) / (length / 4), 0, 1)
        responses[index, : len(response)] = response * fade
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.npy")
        np.save(partial, responses)
        partial.replace(file)
    return responses
