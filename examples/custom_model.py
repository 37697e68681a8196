"""A model of your own: python examples/custom_model.py MODEL.onnx NOISY. Writes every source beside NOISY.

MODEL.onnx comes from `python -m training.export`, or is the name of a shipped model.
"""

from __future__ import annotations

import sys
from pathlib import Path

import soundfile

import rtsep


def main(name: str, noisy: Path) -> None:
    """What the model says about itself, and what it makes of a mono recording."""
    model = rtsep.load(name)
    spec = model.spec
    print(f"{spec.name} {spec.version}, {spec.licence}: {spec.target} of {', '.join(spec.sources)}")
    sound, rate = soundfile.read(noisy, dtype="float32")
    stream = model.stream(sample_rate=rate)
    early = stream.latency
    first, rest = stream.process(sound, sources=True), stream.flush(sources=True)
    for name, begin, end in zip(spec.sources, first, rest, strict=True):
        target = noisy.with_suffix(f".{name}.wav")
        with soundfile.SoundFile(target, "w", rate, 1) as file:
            file.write(begin[early:])
            file.write(end[max(0, early - len(begin)) :])
        print(f"wrote {target}")


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]))
    except rtsep.RtsepError as error:
        sys.exit(str(error))
