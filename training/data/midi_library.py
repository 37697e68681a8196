"""Tunes as MIDI files, sound fonts, and what FluidSynth makes of the two."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import yaml

from training.data.collect import share
from training.data.public_sources import matches, opened, read_catalogue
from training.data.tunes import Tune, lumps, read_tune

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float64]

RECIPE = Path(__file__).with_name("made_songs.yaml")
RATE = 48000  # Hz
TEMPO = (0.85, 1.15)  # how fast a tune may be played
OTHER_INSTRUMENT = 0.4  # of channels, that are played by another instrument of the same family


@dataclass(frozen=True)
class TuneFile:
    """The content of a MIDI file, whence it is and under which licence."""

    name: str
    data: bytes
    licence: str
    origin: str

    def read(self) -> Tune:
        """Its notes; raises ValueError with one sentence for what is no MIDI file."""
        return _tune(self)


@lru_cache(maxsize=128)
def _tune(file: TuneFile) -> Tune:
    return read_tune(file.data, file.name)


@dataclass
class MidiLibrary:
    """`fonts` are files, with their licences; `valid_tunes` is the share of the tunes, by a hash of their names, that
    valid songs are made of."""

    tunes: list[TuneFile] = field(default_factory=list)
    fonts: list[tuple[Path, str]] = field(default_factory=list)
    valid_tunes: float = 0.12

    def tunes_of(self, valid: bool) -> list[TuneFile]:
        """Those that songs of a split are made of."""
        return [tune for tune in self.tunes if (share(tune.name) < self.valid_tunes) == valid]


@contextmanager
def midi_library(repos: Path | None) -> Iterator[MidiLibrary]:
    """Fetches what `made_songs.yaml` names, or takes it from `repos`.

    Raises SourceUnavailable or ValueError with one sentence if something lacks.
    """
    found = MidiLibrary(valid_tunes=yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["valid_tunes"])
    seen: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="fonts-") as place:
        for source in read_catalogue(RECIPE).sources:
            with opened(source, repos) as (paths, read):
                for part in source.parts:
                    chosen = [path for path in paths if matches(path, part)]
                    if not chosen:
                        raise ValueError(f"{source.name} has no {', '.join(part.files)}.")
                    for path, data in zip(chosen, read(chosen), strict=True):
                        if part.kind == "soundfont":
                            font = Path(place, Path(path).name)
                            font.write_bytes(data)
                            found.fonts.append((font, f"{source.name} {source.licence}"))
                            continue
                        stem = f"{source.name}-{Path(path).stem}"
                        files = lumps(data) if path.endswith(".wad") else [("", data)]
                        for name, midi in files:
                            mark = str(share(midi.hex()))
                            if mark not in seen:
                                seen.add(mark)
                                whole = f"{stem}-{name}".strip("-")
                                found.tunes.append(TuneFile(whole, midi, source.licence, source.origin))
        yield found


def played(midi: bytes, font: Path) -> Samples:
    """What FluidSynth makes of a MIDI file, `[samples, 2]`; raises ValueError with one sentence if it cannot."""
    with tempfile.TemporaryDirectory(prefix="midi-") as place:
        tune, sound = Path(place, "tune.mid"), Path(place, "sound.raw")
        tune.write_bytes(midi)
        words = ["fluidsynth", "-n", "-i", "-q", "-g", "0.4", "-r", str(RATE), "-O", "s16", "-T", "raw"]
        # Its own level, 2, puts a chorus 8 dB over the rest, in antiphase: some songs would have no middle.
        words += ["-o", "synth.chorus.level=0.6"]
        if font.suffix == ".sf3":  # compressed: only what is played is unpacked, to the same samples
            words += ["-o", "synth.dynamic-sample-loading=1"]
        try:
            done = subprocess.run([*words, "-F", str(sound), str(font), str(tune)], capture_output=True, timeout=300)
        except FileNotFoundError:
            raise ValueError("fluidsynth is missing: install it (in Debian, apt-get install fluidsynth).") from None
        except subprocess.TimeoutExpired:
            raise ValueError("fluidsynth does not come to an end with a tune.") from None
        if done.returncode or not sound.exists():
            raise ValueError(f"fluidsynth failed: {done.stderr.decode(errors='replace').strip()[-200:]}")
        return np.frombuffer(sound.read_bytes(), "<i2").reshape(-1, 2) / 32768.0
