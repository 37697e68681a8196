"""A file through `rtsep serve`: python examples/websocket_client.py ws://127.0.0.1:8765/v1/stream NOISY CLEAN."""

from __future__ import annotations

import asyncio
import os
import sys

import aiohttp
import numpy as np
import soundfile

FRAME_S = 0.02


async def cleaned(address: str, sound: np.ndarray, rate: int) -> np.ndarray:
    """`sound` [samples, channels] float32 at `rate` Hz as the server cleans it, aligned with it."""
    token = os.environ.get("RTSEP_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    query = f"?rate={rate}&channels={sound.shape[1]}&format=f32le"
    async with aiohttp.ClientSession(headers=headers) as session, session.ws_connect(address + query) as socket:
        latency = (await socket.receive_json())["latency"]
        frame = round(FRAME_S * rate)

        async def send() -> None:
            for begin in range(0, len(sound), frame):
                await socket.send_bytes(sound[begin : begin + frame].astype("<f4").tobytes())
            await socket.send_json({"end": True})

        sending = asyncio.create_task(send())  # while the answers come
        answers = [message.data async for message in socket if message.type == aiohttp.WSMsgType.BINARY]
        await sending
    return np.frombuffer(b"".join(answers), "<f4").reshape(-1, sound.shape[1])[latency:]


def main() -> None:
    """Clean NOISY, of any format that libsndfile reads, into CLEAN."""
    address, noisy, clean = sys.argv[1:]
    sound, rate = soundfile.read(noisy, dtype="float32", always_2d=True)
    soundfile.write(clean, asyncio.run(cleaned(address, sound, rate)), rate)
    print(f"{len(sound) / rate:.1f} s by {address}")


if __name__ == "__main__":
    main()
