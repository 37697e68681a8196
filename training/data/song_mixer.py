"""Songs mixed anew: `SongMixer.batch(step)` makes the same accompaniment and vocals for the same seed and step.

Speed varies on the fly by resampling (pitch and tempo together, by FFT, free of artefacts); pitch alone, tempo alone
and coding come from copies made ahead of time (`copies`). Whatever is done to a whole mixture (band limit, level,
swapped channels, mono) is done to both parts alike, so that they still sum to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from training.data.augment.double_tracking import doubled, take
from training.data.augment.effects import Effects
from training.data.augment.equaliser import Equaliser
from training.data.augment.formant_shift import FormantShift
from training.data.clip_store import Bank
from training.data.manifest import STEMS
from training.data.song_clips import NO_LIMIT, Clip, spread
from training.data.speech_mixer import BaseMixer, active_power

SILENT = 1e-7  # mean square, full scale 1: nobody sings
KINDS = ("song", "remix", "speech", "no_vocals", "vocals_only")


@dataclass(frozen=True)
class RemixSpec:
    """How songs are mixed. Seconds, dB, dBFS, semitones; every `_share` is a probability.

    `kinds`: `song` as it was made; `remix`, vocals of one song over the accompaniment of another; `speech` in the place
    of vocals; `no_vocals`; `vocals_only`.
    """

    seconds: float = 4.096
    kinds: dict[str, float] = field(
        default_factory=lambda: {"song": 0.34, "remix": 0.32, "speech": 0.14, "no_vocals": 0.14, "vocals_only": 0.06}
    )
    semitones: float = 1.0  # of speed, either way
    voice_semitones: float | None = None  # the same of vocals that are in no song; None: as `semitones`
    formant_shift: float = 0.0  # semitones, of the vocals' formants, either way
    formant_shift_share: float = 0.7  # of vocals whose formants are moved, if any are
    level: tuple[float, float] = (-34.0, -12.0)  # RMS of the mixture
    ratio: tuple[float, float] = (-12.0, 6.0)  # of active vocals to accompaniment, where they are no song
    gain: float = 4.0  # of the vocals of a song, either way
    tilt: float = 4.0  # of a part, either way
    width: tuple[float, float] = (0.4, 1.7)  # of a part: gain of its side channel
    balance: float = 2.0  # of a part, either way
    pan_share: float = 0.12  # vocals to one side by up to 15 dB
    mono_share: float = 0.05
    swap_share: float = 0.5
    double_share: float = 0.0  # vocals that are in no song sung several times over, the takes left and right
    effects_share: float = 0.0  # vocals that are in no song, and music below other music, see `effects`
    second_stem_share: float = 0.2  # a second accompaniment below the first, a second voice beside the first
    voiced_share: float = 0.85  # of the vocals drawn, from where they are heard
    room_share: float = 0.25  # of vocals; speech always has one
    silence_share: float = 0.15  # vocals end or begin within the piece
    lowpass_share: float = 0.2  # the mixture limited to 6 to 18 kHz

    def __post_init__(self) -> None:
        if unknown := set(self.kinds) - set(KINDS):
            raise ValueError(f"kinds of song mixtures are {', '.join(KINDS)}, not {', '.join(sorted(unknown))}.")
        if not any(self.kinds.values()):
            raise ValueError("Some kind of song mixture must have a share above zero.")


class SongMixer(BaseMixer):
    """Draws from clips of songs and banks of speech (one a rate) and mixes at `rate` Hz, on `device`.

    `rooms` float32 `[count, length]` are impulse responses with the direct sound at sample 0 (may be empty). A kind for
    which there is nothing to draw from is left out. Raises ValueError if there is no accompaniment or no vocals.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        speech: dict[int, Bank],
        spec: RemixSpec,
        rate: int = 48000,
        seed: int = 0,
        rooms: np.ndarray | None = None,
        hop: int = 128,
        device: torch.device | str = "cpu",
    ):
        self.spec, self.rate, self.seed, self.device = spec, rate, seed, torch.device(device)
        self.speech = speech
        self.size = round(spec.seconds * rate / hop) * hop
        long = [clip for clip in clips if clip.length >= self.size // 2]
        self.accompaniments = _Draw([clip for clip in long if "accompaniment" in clip.parts])
        self.vocals = _Draw([clip for clip in long if len(clip.voiced)])
        self.songs = _Draw([clip for clip in long if len(clip.parts) == 2])
        if not self.accompaniments or not (self.vocals or speech):
            raise ValueError("Songs need accompaniments and vocals: one of the two is missing or silent.")
        there = {
            "song": self.songs,
            "remix": self.vocals,
            "speech": speech,
            "no_vocals": True,
            "vocals_only": self.vocals,
        }
        chance = {kind: share for kind, share in spec.kinds.items() if there[kind]}
        self.kinds, total = list(chance), sum(chance.values())
        self.chance = np.array([share / total for share in chance.values()])
        self.bins = self.size // 2 + 1
        self.hertz = torch.arange(self.bins, device=self.device) * (rate / self.size)
        self.equaliser = Equaliser(self.hertz)
        self.formant_shift = FormantShift(rate, self.device)
        self.effects = Effects(rate, self.size, self.device)
        # Reflections only, without the direct sound: what is added to a dry voice.
        echoes = np.zeros((0, 1), np.float32) if rooms is None else np.concatenate([rooms[:, :1] * 0, rooms[:, 1:]], 1)
        self.rooms = torch.fft.rfft(torch.from_numpy(echoes).to(self.device), self.size) if len(echoes) else None

    def batch(self, step: int, count: int) -> Tensor:
        """Accompaniment and vocals, float32 `[count, 2, 2, samples]` (source, channel); the mixture is their sum.

        Same seed and step, same batch.
        """
        rng = np.random.default_rng((self.seed, step))
        return torch.stack([self._example(rng) for _ in range(count)])

    def passages(self, count: int) -> Tensor:
        """`count` pieces of the songs as they are, spread evenly, `[count, 2, 2, samples]`: to validate on."""
        if not self.songs:
            raise ValueError("There is no song with both vocals and accompaniment.")
        pieces = []
        for index, start in spread([clip.length for clip in self.songs.clips], self.size, count):
            clip = self.songs.clips[index]
            pieces.append(torch.stack([self._cut(clip, part, start, self.size) for part in STEMS]))
        return torch.stack(pieces)

    def _example(self, rng: np.random.Generator) -> Tensor:
        """One mixture, `[2, 2, samples]`."""
        spec = self.spec
        kind = self.kinds[rng.choice(len(self.kinds), p=self.chance)]
        limit = NO_LIMIT
        if kind == "song":
            clip = self.songs.pick(rng)
            start, speed = self._start(clip, rng, voiced=False), self._speed(rng)
            accompaniment, vocals = (self._spectrum(clip, part, start, speed) for part in STEMS)
            vocals = self._formants_moved(vocals, rng)
        else:
            nothing = torch.zeros(2, self.bins, dtype=torch.complex64, device=self.device), NO_LIMIT
            accompaniment, limit = self._accompaniment(rng) if kind != "vocals_only" else nothing
            voice = nothing
            if kind == "speech":
                voice = self._spoken(rng)
            elif kind != "no_vocals":
                voice = self._sung(rng)
            # What lacks treble must not be told by it from what has some.
            vocals, limit = voice[0], min(limit, voice[1])
        accompaniment = self._staged(accompaniment, rng, spec.balance)
        if kind not in ("song", "no_vocals"):
            vocals = self._with_effects(vocals, rng)
        balance = 15.0 if rng.random() < spec.pan_share else spec.balance
        vocals = self._staged(vocals, rng, balance)
        if kind == "speech" or rng.random() < spec.room_share:
            vocals = self._in_room(vocals, rng)
        if rng.random() < spec.lowpass_share:
            limit = min(limit, rng.uniform(6000, 18000))
        both = torch.stack([accompaniment, vocals])
        if limit < self.rate / 2:
            both = both * torch.sigmoid((limit - self.hertz) / 150)
        if rng.random() < spec.mono_share:
            both = both.mean(1, keepdim=True).expand(-1, 2, -1)
        waves = torch.fft.irfft(both, self.size)
        if rng.random() < spec.swap_share:
            waves = waves.flip(1)
        return self._levelled(waves, kind, rng)

    def _levelled(self, waves: Tensor, kind: str, rng: np.random.Generator) -> Tensor:
        """Sets the vocals' level in the mixture, lets some of them begin or end, and sets the mixture's level."""
        spec = self.spec
        decibels = rng.uniform(-spec.gain, spec.gain)
        if kind in ("remix", "speech"):
            # Over both channels: the root of their mean power has their active level.
            active = active_power(waves[1].square().mean(0, keepdim=True).sqrt(), self.rate)[0]
            music = waves[0].square().mean()
            decibels = rng.uniform(*spec.ratio)
            # Vocals that were drawn where they are all but silent stay so.
            decibels += 10 * float(torch.log10((music + 1e-9) / active.clamp(min=SILENT)))
        gain = torch.tensor([1.0, 10 ** (decibels / 20)], device=self.device)[:, None, None]
        waves = waves * gain
        if kind != "vocals_only" and rng.random() < spec.silence_share:
            cut = int(rng.integers(0, self.size))
            ramp = ((torch.arange(self.size, device=self.device) - cut) / (0.02 * self.rate)).clamp(0, 1)
            waves[1] *= ramp if rng.random() < 0.5 else 1 - ramp
        mixture = waves.sum(0)
        wanted = 10 ** (rng.uniform(*spec.level) / 20)
        power = float(mixture.square().mean().sqrt())
        loudest = float(mixture.abs().max())
        return waves * (min(wanted / power, 0.99 / loudest) if power > 1e-5 else 1.0)

    def _accompaniment(self, rng: np.random.Generator) -> tuple[Tensor, float]:
        """Spectra `[2, bins]` of one accompaniment, sometimes with another below it, and how far in Hz they go."""
        first, limit = self._drawn(self.accompaniments, "accompaniment", rng, voiced=False)
        if rng.random() < self.spec.second_stem_share:
            second, other = self._drawn(self.accompaniments, "accompaniment", rng, voiced=False)
            second = self._with_effects(second, rng)  # so that effects are no sign of a voice
            first = self._even(first) + self._even(second) * 10 ** (rng.uniform(-15, -3) / 20)
            limit = max(limit, other)
        return first, limit

    def _sung(self, rng: np.random.Generator) -> tuple[Tensor, float]:
        """Spectra `[2, bins]` of one voice, sometimes with another, and up to which frequency in Hz both go."""
        voiced = rng.random() < self.spec.voiced_share
        first, limit = self._drawn(self.vocals, "vocals", rng, voiced)
        first = self._doubled(first, rng)
        if rng.random() < self.spec.second_stem_share:
            second, other = self._drawn(self.vocals, "vocals", rng, voiced)
            second = self._staged(second, rng, 15.0)
            first = self._even(first) + self._even(second) * 10 ** (rng.uniform(-12, 0) / 20)
            limit = min(limit, other)
        return first, limit

    def _spoken(self, rng: np.random.Generator) -> tuple[Tensor, float]:
        """Spectra `[2, bins]` of one speaker in the middle, and up to which frequency in Hz the recording goes."""
        rates = list(self.speech)
        rate = rates[rng.integers(len(rates))]
        bank = self.speech[rate]
        clip = bank.pick(rng, 1)
        speed = self._speed(rng, voice=True)
        taken = next_fast_len(int(self.size * bank.rate / self.rate * speed), real=True)
        spectrum = self._resampled(bank.cut(clip, taken, rng, wrap=False).to(self.device))
        limit = min(float(bank.bandwidth[clip[0]]), bank.rate * 0.48) * speed
        spectrum = self._doubled(self._formants_moved(spectrum, rng).expand(2, -1), rng)
        # Wide speech may keep its missing treble: half of the time, the music must not tell by it where speech is.
        return spectrum, limit if rate < self.rate or rng.random() < 0.5 else NO_LIMIT

    def _drawn(self, draw: _Draw, part: str, rng: np.random.Generator, voiced: bool) -> tuple[Tensor, float]:
        """Spectra `[2, bins]` of a part of some clip, and up to which frequency in Hz its recording goes."""
        clip = draw.pick(rng)
        voice = part == "vocals"
        start, speed = self._start(clip, rng, voiced), self._speed(rng, voice)
        spectrum = self._spectrum(clip, part, start, speed)
        return self._formants_moved(spectrum, rng) if voice else spectrum, clip.limit(part) * speed

    def _start(self, clip: Clip, rng: np.random.Generator, voiced: bool) -> int:
        """Where a piece begins, in samples; `voiced` puts a second with vocals somewhere inside it."""
        last = max(clip.length - self.size, 0)
        if voiced and len(clip.voiced):
            second = int(clip.voiced[rng.integers(len(clip.voiced))])
            return min(max(second - int(rng.integers(0, max(self.size - self.rate, 1))), 0), last)
        return int(rng.integers(0, last + 1))

    def _speed(self, rng: np.random.Generator, voice: bool = False) -> float:
        semitones, of_voices = self.spec.semitones, self.spec.voice_semitones
        if voice and of_voices is not None:
            semitones = of_voices
        return 2 ** (rng.uniform(-semitones, semitones) / 12) if semitones else 1.0

    def _formants_moved(self, spectrum: Tensor, rng: np.random.Generator) -> Tensor:
        """Spectra `[channels, bins]` of a voice, now and then as somebody else would have sung it."""
        if not self.spec.formant_shift or rng.random() >= self.spec.formant_shift_share:
            return spectrum
        ratio = 2 ** (rng.uniform(-self.spec.formant_shift, self.spec.formant_shift) / 12)
        return torch.fft.rfft(self.formant_shift(torch.fft.irfft(spectrum, self.size), ratio))

    def _doubled(self, spectrum: Tensor, rng: np.random.Generator) -> Tensor:
        """Spectra `[2, bins]` of a voice, now and then as two to four takes of it."""
        if not self.spec.double_share or rng.random() >= self.spec.double_share:
            return spectrum
        loudest = int(spectrum.abs().square().sum(1).argmax())
        voice = torch.fft.irfft(spectrum[loudest], self.size)
        takes = [take(voice, self.rate, rng) for _ in range(rng.integers(2, 5))]
        return torch.fft.rfft(doubled(voice, takes, rng))

    def _with_effects(self, spectrum: Tensor, rng: np.random.Generator) -> Tensor:
        """Spectra `[2, bins]`, now and then through a chain of effects."""
        if not self.spec.effects_share or rng.random() >= self.spec.effects_share:
            return spectrum
        return torch.fft.rfft(self.effects(torch.fft.irfft(spectrum, self.size), rng))

    def _cut(self, clip: Clip, part: str, start: int, length: int) -> Tensor:
        """float32 `[2, length]`; after its end a clip goes on in silence."""
        piece = np.array(clip.parts[part][:, start : start + length])
        sound = torch.from_numpy(piece).to(self.device).float() / 32767
        return torch.nn.functional.pad(sound, (0, length - sound.shape[1]))

    def _spectrum(self, clip: Clip, part: str, start: int, speed: float) -> Tensor:
        taken = self.size if speed == 1 else next_fast_len(int(self.size * speed), real=True)
        return self._resampled(self._cut(clip, part, start, taken))

    def _resampled(self, sound: Tensor) -> Tensor:
        """Spectra complex64 `[channels, bins]` of `[channels, samples]` played in the time of one piece."""
        taken = sound.shape[-1]
        spectrum = torch.fft.rfft(sound)[:, : self.bins] * (self.size / taken)
        return torch.nn.functional.pad(spectrum, (0, self.bins - spectrum.shape[-1]))

    def _staged(self, spectrum: Tensor, rng: np.random.Generator, balance: float) -> Tensor:
        """Another equaliser, width and balance for one part, `[2, bins]`."""
        spec = self.spec
        points = rng.uniform(-spec.tilt, spec.tilt, self.equaliser.knots).astype(np.float32)
        curve = self.equaliser.gain(torch.from_numpy(points).to(self.device))
        side, turn = rng.uniform(*spec.width), rng.uniform(-balance, balance) / 2
        left, right = 10 ** (turn / 20), 10 ** (-turn / 20)
        near, far = (1 + side) / 2, (1 - side) / 2
        matrix = torch.tensor([[left * near, left * far], [right * far, right * near]], device=self.device)
        return (matrix.to(spectrum.dtype) @ spectrum) * curve

    def _in_room(self, spectrum: Tensor, rng: np.random.Generator) -> Tensor:
        """Reflections of two rooms, one a channel: the voice stays in the middle, its room is around it."""
        if self.rooms is None:
            return spectrum
        pick = torch.from_numpy(rng.integers(0, len(self.rooms), 2)).to(self.device)
        wet = 10 ** (rng.uniform(-20, 0) / 20)
        # Circular: the tail wraps to the beginning, which is as good a beginning as any.
        return spectrum * (1 + wet * self.rooms[pick])

    def _even(self, spectrum: Tensor) -> Tensor:
        """Brought to an RMS of 0.1; what is all but silent stays so."""
        power = spectrum.abs().square().mean() / self.size
        return spectrum * (0.1 / power.clamp(min=SILENT).sqrt())


class _Draw:
    """Clips drawn by their length, all copies of a song together as often as the song alone."""

    def __init__(self, clips: Sequence[Clip]):
        self.clips = list(clips)
        copies: dict[str, int] = {}
        for clip in self.clips:
            copies[clip.song.name] = copies.get(clip.song.name, 0) + 1
        weight = np.array([clip.length / copies[clip.song.name] for clip in self.clips], dtype=np.float64)
        self.weight = weight / weight.sum() if len(weight) else weight

    def __bool__(self) -> bool:
        return bool(self.clips)

    def pick(self, rng: np.random.Generator) -> Clip:
        return self.clips[rng.choice(len(self.clips), p=self.weight)]
