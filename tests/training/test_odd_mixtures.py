"""What phones, rooms and bad microphones make of mixtures: options of the mixer that a recipe switches on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.data import appliance_noise, tonal_noise
from training.data.augment.band_limit import band_gain, draw_bands
from training.data.augment.distortion import clipped, mu_law, telephone
from training.data.augment.far_rooms import far_rooms
from training.data.augment.single_words import single_words
from training.data.augment.whisper import whispered
from training.data.speech_mixer import ODD, Mixer, MixSpec, active_power
from training.data.synthetic_noise import generated
from training.losses.si_sdr import si_sdr

SOME = dict.fromkeys(ODD, 0.3)


def with_spec(mixer: Mixer, **changes: object) -> Mixer:
    spec = replace(mixer.spec, **changes)  # type: ignore[arg-type]
    return Mixer(mixer.speech, mixer.noise, mixer.music, spec, mixer.rate, mixer.seed)


def test_mixtures_of_every_kind_are_sound_and_seeded(mixer: Mixer) -> None:
    kinds = {"recorded": 1.0, "tonal": 1.0, "appliance": 1.0, "synthetic": 1.0}
    odd = with_spec(mixer, noise_kinds=kinds, **SOME)
    for step in range(3):
        batch = odd.batch(step, 6)
        assert batch.isfinite().all() and batch.sum(1).abs().max() < 1.05
        assert torch.equal(batch, with_spec(mixer, noise_kinds=kinds, **SOME).batch(step, 6))


def test_odd_options_leave_the_rest_of_an_example_as_it_was(mixer: Mixer) -> None:
    """Draws of their own: a hum switched on changes what is heard of no voice."""
    plain, humming = mixer.batch(2, 6), with_spec(mixer, mains_share=1.0, mains_snr=(30.0, 40.0)).batch(2, 6)
    assert si_sdr(humming[:, 0], plain[:, 0])[plain[:, 0].abs().amax(-1) > 0].min() > 80  # a peak may lower both
    assert not torch.allclose(plain[:, 1], humming[:, 1], atol=1e-4)


def test_the_usual_spec_has_nothing_odd(mixer: Mixer) -> None:
    """Fixed pairs of a given SNR and level are made with it."""
    odd = replace(mixer.spec, **SOME)
    assert {"low_snr_share", "far_level_share", "telephone_share", "whisper_share"} <= set(ODD)
    assert "silence_share" not in ODD and odd.usual() == mixer.spec != odd


def test_an_unknown_kind_of_noise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"noise_kinds are recorded, .* not thunder"):
        MixSpec(noise_kinds={"thunder": 1.0})


def test_levels_reach_far_and_half_of_the_mixtures_are_noisy(mixer: Mixer) -> None:
    odd = with_spec(mixer, far_level_share=1.0, low_snr_share=1.0, no_noise_share=0.0, no_speech_share=0.0)
    batch = torch.cat([odd.batch(step, 8) for step in range(6)])
    speech, noise = (10 * torch.log10(active_power(batch[:, part], odd.rate)) for part in (0, 1))
    there = speech > -90
    assert speech[there].min() < -58 and speech[there].max() > -20
    assert (speech - noise)[there].abs().max() < 5.1


def test_clean_speech_at_odd_levels_comes_without_noise_when_asked(mixer: Mixer) -> None:
    odd = with_spec(mixer, far_level_share=0.5, degraded_no_noise_share=1.0, no_noise_share=0.0, no_speech_share=0.0)
    batch = torch.cat([odd.batch(step, 8) for step in range(6)])
    quiet = 10 * torch.log10(active_power(batch[:, 0], odd.rate).clamp(min=1e-12)) < -45
    silent = batch[:, 1].abs().amax(-1) == 0
    assert silent[quiet].all() and 0.2 < silent.float().mean() < 0.8


def test_single_words_are_short_and_loud_parts_of_what_was_said(mixer: Mixer) -> None:
    plain = with_spec(mixer, silence_share=0.0, room_share=0.0, no_speech_share=0.0)
    said, words = (
        torch.cat([each.batch(step, 8)[:, 0] for step in range(4)])
        for each in (plain, with_spec(plain, word_share=1.0))
    )
    seconds = (words != 0).float().mean(-1) * (words.shape[-1] / mixer.rate)
    assert seconds.max() <= 1.2 and seconds.median() > 0.1
    rng, power = np.random.default_rng(3), torch.zeros(2)
    for sound in said:
        gain = single_words(sound, mixer.rate, rng)
        assert gain.min() == 0 and gain.max() == 1 and gain.diff().abs().max() < 1.01 / (0.02 * mixer.rate)
        power += torch.stack([(sound * gain).square().sum() / gain.sum(), sound.square().mean()])
    assert power[0] > 1.2 * power[1]
    assert torch.equal(words[:8], with_spec(plain, word_share=1.0).batch(0, 8)[:, 0])


def test_band_limits() -> None:
    hertz = torch.arange(24001.0)
    low, high, order = np.array([0.0, 300.0]), np.array([1e6, 3400.0]), np.array([4, 6])
    gain = 20 * torch.log10(band_gain(hertz, low, high, order) + 1e-30)
    assert gain[0].abs().max() < 0.01
    assert gain[1, [300, 3400]] == pytest.approx([-3.01, -3.01], abs=0.05)
    assert gain[1, 1000].abs() < 0.01 and gain[1, 150] < -35 and gain[1, 6800] < -35
    low, high, order = draw_bands(np.random.default_rng(0), 500)
    assert ((low == 0) | (low >= 50)).all() and low.max() <= 600 and high.min() >= 2500
    assert 0.05 < ((low == 300) & (high == 3400)).mean() < 0.12 and order.min() == 1 and order.max() == 12


def test_a_band_limits_speech_and_noise_alike(mixer: Mixer) -> None:
    calls = with_spec(mixer, telephone_share=1.0, no_noise_share=0.0)
    power = torch.fft.rfft(calls.batch(0, 6)).abs().square()
    outside = power[..., calls.hertz > 4100].sum(-1) / power.sum(-1).clamp(min=1e-9)
    assert outside.max() < 1e-6
    deep = power[..., calls.hertz < 100].sum(-1) / power.sum(-1).clamp(min=1e-9)
    assert deep.max() < 1e-3
    apart = with_spec(mixer, band_share=1.0, band_speech_only=1.0, noise_kinds={"synthetic": 1.0}, no_noise_share=0.0)
    limited, plain = apart.batch(1, 6), with_spec(apart, band_share=0.0).batch(1, 6)
    spoken = plain[:, 0].abs().amax(-1) > 0
    assert si_sdr(limited[:, 1], plain[:, 1]).min() > 60  # this room's noise is not the caller's
    assert si_sdr(limited[:, 0], plain[:, 0])[spoken].min() < 20  # some limits lie outside a voice


def test_clipping_is_shared_and_leaves_clean_speech_its_own_target() -> None:
    torch.manual_seed(0)
    sources = torch.randn(3, 2, 4800)
    depth = torch.tensor([3.0, 6.0, 12.0])
    flat = clipped(sources, depth)
    mixture, limit = sources.sum(1), sources.sum(1).abs().amax(-1) * 10 ** (-depth / 20)
    expected = torch.maximum(torch.minimum(mixture, limit[:, None]), -limit[:, None])
    assert torch.allclose(flat.sum(1), expected, atol=1e-5)
    sources[:, 1] = 0
    flat = clipped(sources, depth)
    assert (flat[:, 1] == 0).all() and flat[:, 0].abs().amax(-1) == pytest.approx(
        (sources[:, 0].abs().amax(-1) * 10 ** (-depth / 20)).tolist(), rel=1e-5
    )


def test_mu_law_has_the_precision_of_g711(tmp_path: object) -> None:
    """Against libsndfile's G.711, which differs in its steps and not in how fine they are."""
    import io

    import soundfile

    time = np.arange(8000) / 8000
    wave = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, wave, 8000, subtype="ULAW", format="WAV")
    file.seek(0)
    theirs = torch.from_numpy(soundfile.read(file, dtype="float32")[0])[None]
    pair = torch.stack([torch.from_numpy(wave), torch.zeros(8000)])[None]
    ours = mu_law(pair)
    true = torch.from_numpy(wave)[None]
    assert si_sdr(ours[:, 0], true).item() == pytest.approx(si_sdr(theirs, true).item(), abs=2)
    assert (ours[:, 1] == 0).all()


def test_a_telephone_keeps_the_sum_and_the_place() -> None:
    time = torch.arange(48000) / 48000
    voice, hiss = torch.sin(2 * torch.pi * 1000 * time), 0.3 * torch.sin(2 * torch.pi * 2500 * time)
    pair = 0.5 * torch.stack([voice, hiss])[None]
    heard = telephone(pair, 48000)
    assert heard.shape == pair.shape
    assert si_sdr(heard.sum(1), pair.sum(1)).item() > 30
    assert si_sdr(heard[:, 0], pair[:, 0]).item() > 30
    assert telephone(pair[..., :47999], 48000).shape == (1, 2, 47999)


def test_whispers_keep_the_envelope_and_lose_the_pitch() -> None:
    """A buzz of 120 Hz through a resonance at 1 kHz: level and resonance stay, the harmonics go."""
    rate, time = 48000, np.arange(48000) / 48000
    buzz = sum(np.exp(-(((k * 120 - 1000) / 300) ** 2)) * np.sin(2 * np.pi * 120 * k * time) for k in range(1, 30))
    buzz = torch.from_numpy(buzz.astype(np.float32))[None]
    whisper = whispered(buzz, rate, np.random.default_rng(0))
    assert whisper.square().mean().item() == pytest.approx(buzz.square().mean().item(), rel=1e-3)

    def power(sound: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft(sound[0]).abs().square()

    hertz = np.arange(24001)
    assert (power(whisper).numpy() * hertz).sum() / power(whisper).sum().item() == pytest.approx(1000, abs=150)
    near = np.abs((hertz + 60) % 120 - 60) < 6
    assert power(buzz)[near].sum() > 0.99 * power(buzz).sum()
    assert power(whisper)[near].sum() < 0.25 * power(whisper).sum()


def test_shouts_are_brighter(mixer: Mixer) -> None:
    plain, loud = with_spec(mixer, room_share=0.0), with_spec(mixer, room_share=0.0, shout_share=1.0)
    one, other = (torch.fft.rfft(each.batch(0, 6)[:, 0]).abs().square() for each in (plain, loud))
    high = (mixer.hertz > 2000) & (mixer.hertz < 6000)
    low = (mixer.hertz > 100) & (mixer.hertz < 500)
    change = 10 * torch.log10(other[:, high].sum(1) / other[:, low].sum(1) / (one[:, high].sum(1) / one[:, low].sum(1)))
    change = change[change.isfinite()]
    assert len(change) and change.min() > 4 and change.max() < 23


def test_far_rooms_ring_long_and_drown_the_direct_sound() -> None:
    rooms = far_rooms(16, 16000, 3)
    assert rooms.shape == (16, 16000) and np.allclose(rooms[:, 0], 1)
    tail = np.square(rooms[:, 1:]).sum(1)
    assert 10 * np.log10(tail.max()) == pytest.approx(8, abs=3) and 10 * np.log10(tail.min()) < 0
    left = np.square(rooms[:, 4800:]).sum(1) / tail  # after 0.3 s
    assert left.max() > 0.02 and left.min() < 0.01
    assert np.array_equal(rooms, far_rooms(16, 16000, 3))


@pytest.mark.parametrize("family", [*dict.fromkeys((*tonal_noise.FAMILIES, *appliance_noise.FAMILIES))])
def test_every_family_sounds_whatever_it_draws(family: object) -> None:
    for seed in range(25):
        sound = family(np.random.default_rng(seed), 24000, 48000)  # type: ignore[operator]
        assert sound.shape == (24000,) and np.isfinite(sound).all() and np.abs(sound).max() < 1e3
    assert np.array_equal(family(np.random.default_rng(3), 9600, 16000), family(np.random.default_rng(3), 9600, 16000))  # type: ignore[operator]


def test_tonal_noise_is_tonal_and_fans_are_not() -> None:
    """The hundred strongest of 2001 bins hold most of a siren and little of a fan."""

    def peaked(kind: str) -> float:
        sounds = generated(kind, np.random.default_rng(0), 40, 48000, 48000)
        assert torch.allclose(sounds.square().mean(-1).sqrt(), torch.ones(40), atol=1e-3)
        power = torch.fft.rfft(sounds[:, :4000] + 1e-9).abs().square().sort(descending=True).values
        return float((power[:, :100].sum(-1) / power.sum(-1)).median())

    assert peaked("tonal") > 0.8
    assert peaked("synthetic") < peaked("tonal")
