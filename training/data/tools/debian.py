"""Music without voices out of Debian's game packages: hours of it, free, and each with a copyright file.

    python -m training.data.tools.debian OUT [--package NAME ...] [--debs FOLDER] [--seconds S] [--ogg]

fetches the packages (`apt-get download`; nothing is installed), takes up to S seconds of every piece of music in them
(`dpkg-deb`, `ffmpeg`) and writes them to OUT as FLAC at 48 kHz with OUT/manifest.csv, for
`--dataset manifest=OUT/manifest.csv`. What a network has to learn of songs is when nobody sings, and an album or two
have too little of that. Listened to was none of it: a choir here and there is possible.
"""

from __future__ import annotations

if __name__ == "__main__":
    from training.extras import require

    require("train")

import re
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from training.data.augment.offline_augment import ffmpeg
from training.data.collect import share
from training.data.manifest import AUDIO, new_folder
from training.data.sound_files import write_sound

RATE = 48000  # Hz, of what is written
SHORTEST_S = 25.0  # a shorter piece is a jingle
LEAD = 0.2  # of a piece that is passed over where it is longer than what is taken: introductions are thin
VALID_SHARE = 0.06  # of the pieces, by a hash of their names
LARGE = 300_000  # bytes, coded; less is an effect
UNFIT = r"speech|intro\.|_sd\.|sdmusic|sheep|frog_music|lumberjack|windmill|chapel|warehouse"  # no music, or twice
#: package -> licence of its music, as its copyright file has it
PACKAGES = {
    "ardentryst": "CC-BY-SA-3.0",
    "asc-music": "GPL-2+",
    "colobot-common-sounds": "GPL-3+",
    "extremetuxracer-data": "GPL-2+",
    "flare-game": "CC-BY-SA-3.0+",
    "fretsonfire-songs-muldjord": "CC-BY-SA-3.0",
    "fretsonfire-songs-sectoid": "Expat",
    "frozen-bubble-data": "GPL-2",
    "gunroar-data": "BSD-2-Clause",
    "hedgewars-data": "GPL-2",
    "hyperrogue-music": "CC-BY-SA-3.0",
    "lincity-ng-data": "GPL-2+",
    "marsshooter-data": "CC-BY-SA-3.0",
    "mu-cade-data": "BSD-2-Clause",
    "nexuiz-music": "GPL-2+",
    "noiz2sa-data": "BSD-2-Clause",
    "parsec47-data": "BSD-2-Clause",
    "planetblupi-music-ogg": "GPL-3+",
    "rrootage-data": "BSD-2-Clause",
    "singularity-music": "CC-BY-SA-3.0",
    "supertux-data": "GPL-2+ / CC-BY-SA",
    "titanion-data": "BSD-2-Clause",
    "torus-trooper-data": "BSD-2-Clause",
    "tumiki-fighters-data": "BSD-2-Clause",
    "unknown-horizons": "CC-BY-SA-3.0",
    "warmux-data": "GPL-2+",
    "warzone2100-music": "GPL-2+",
    "widelands-data": "GPL-2+ / CC-BY-SA-3.0",
    "xmoto-data": "GPL-2+",
}


def unpacked(package: Path, folder: Path) -> list[Path]:
    """The pieces of music in a .deb, by name, unpacked below `folder`; those in its .pk3 archives as well.

    Raises ValueError with one sentence for what is no package.
    """
    _run(["dpkg-deb", "-x", str(package), str(folder)])
    for archive in folder.rglob("*.pk3"):
        with zipfile.ZipFile(archive) as parts:
            parts.extractall(archive.with_suffix(""))
    files = [path for path in folder.rglob("*") if path.suffix.lower() in AUDIO and path.is_file()]
    return sorted(
        path
        for path in files
        if path.stat().st_size > LARGE and not re.search(UNFIT, path.relative_to(folder).as_posix(), re.IGNORECASE)
    )


def piece(file: Path, seconds: float) -> np.ndarray:
    """At most `seconds` of a piece, int16 `[samples, 2]` at 48 kHz; raises ValueError for what ffmpeg cannot read."""
    words = ["-i", str(file), "-map", "0:a:0", "-ar", str(RATE), "-ac", "2", "-f", "s16le", "-"]
    sound = np.frombuffer(ffmpeg(words), np.int16).reshape(-1, 2)
    kept = min(len(sound), round(seconds * RATE))
    first = min(len(sound) - kept, round(LEAD * len(sound)))
    return sound[first : first + kept]


def write_music(
    packages: dict[str, Path],
    folder: Path,
    add: Callable[[list], object],
    seconds: float,
    tell: Callable[[str], object],
    suffix: str = ".flac",
) -> float:
    """Writes the music of `packages` (name → .deb) to `folder`, a row each by `add`; returns its minutes.

    What cannot be read is told and passed over; raises ValueError with one sentence if nothing is left.
    """
    made, reason = 0.0, "there is none in these packages"
    for name, package in packages.items():
        with tempfile.TemporaryDirectory(dir=folder.parent) as place:
            pieces = 0
            for file in unpacked(package, Path(place)):
                try:
                    sound = piece(file, seconds)
                except ValueError as error:
                    reason = str(error)
                    tell(f"{name}: {file.name} is passed over: {reason.replace(f'{file}: ', '')}")
                    continue
                if len(sound) < SHORTEST_S * RATE:
                    continue
                inside = file.relative_to(place)
                target = f"{name}-{re.sub(r'[^A-Za-z0-9]+', '-', '-'.join(inside.with_suffix('').parts[-2:]))}{suffix}"
                write_sound(folder / target, sound.astype(np.float32) / 32767, RATE)
                licence = f"{PACKAGES[name]} (Debian copyright file)"
                length = len(sound) / RATE
                facts = (f"{length:.2f}", RATE, 2, "", licence, f"debian:{package.name}", str(inside))
                split = "valid" if share(target) < VALID_SHARE else "train"
                add([target, "instrumental", split, "", f"debian: {name}", *facts])
                made, pieces = made + length / 60, pieces + 1
        tell(f"{name}: {pieces} pieces")
    if not made:
        raise ValueError(f"No music was found: {reason}.")
    return made


def download(names: Sequence[str], folder: Path) -> None:
    """Fetches packages into `folder`; raises ValueError with one sentence if it cannot be."""
    _run(["apt-get", "download", "-qq", *names], folder)


def found(names: Sequence[str], folder: Path) -> dict[str, Path]:
    """The .deb of each name in `folder`; raises ValueError with one sentence that names those that lack."""
    files = {name: next(iter(sorted(folder.glob(f"{name}_*.deb"))), None) for name in names}
    if missing := [name for name, file in files.items() if file is None]:
        raise ValueError(f"There is no package of {', '.join(missing)} in {folder}.")
    return {name: file for name, file in files.items() if file}


def _run(words: list[str], folder: Path | None = None) -> None:
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        raise ValueError(f"{words[0]} is missing: this needs Debian or a system like it.") from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ValueError(f"{words[0]} failed: {reason}")


def main(
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    package: Annotated[list[str], typer.Option(help="Of these packages only; may be said again.")] = [],  # noqa: B006
    debs: Annotated[Path | None, typer.Option(help="A folder that has the packages already.")] = None,
    seconds: Annotated[float, typer.Option(min=SHORTEST_S, help="Of each piece, at most.")] = 150.0,
    ogg: Annotated[bool, typer.Option("--ogg", help="As Ogg Vorbis, a fifth as large as FLAC.")] = False,
) -> None:
    """Take music without voices out of Debian's game packages."""
    names = list(dict.fromkeys(package)) or list(PACKAGES)
    try:
        if unknown := [name for name in names if name not in PACKAGES]:
            raise ValueError(f"{', '.join(unknown)} is none of {', '.join(PACKAGES)}.")
        with new_folder(out) as (folder, add), tempfile.TemporaryDirectory() as place:
            if debs is None:
                download(names, Path(place))
            made = write_music(
                found(names, debs or Path(place)), folder, add, seconds, typer.echo, ".ogg" if ogg else ".flac"
            )
        typer.echo(f"{made:.1f} minutes of music, in {out}")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
