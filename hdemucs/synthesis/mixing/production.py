"""The mixing desk: a channel strip for each part, a bus for each stem, and the mix bus.

Stems still add up to the mixture after the mix bus: its equaliser is linear, and the gain of its compressor
and limiter is computed once and applied to all stems alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hdemucs.synthesis.mixing.effects import (
    Band,
    Space,
    amplify,
    brighten,
    chorus,
    compress,
    compressor_gain,
    draw_space,
    echo,
    equalise,
    gain,
    limiter_gain,
    loudness,
    place,
    random_tone,
    saturate,
)
from hdemucs.synthesis.score.notes import RATE

# Mean and standard deviation of the stems' loudness relative to the mixture, in LU, in commercial recordings.
_BALANCE = {"drums": (-3.3, 2.2), "bass": (-8.3, 2.2), "other": (-5.5, 2.2), "vocals": (-5.2, 2.0)}
CEILING = -0.5
"""Maximum peak of mixtures and stems in dBFS."""


@dataclass(frozen=True)
class Desk:
    """Settings shared by all channels of a song's mix.

    Attributes:
        beat: Duration of a beat in seconds.
        wetness: Amount of reverb, 0 (dry) to 1.
        drive: Amount of saturation, 0 (clean) to 1.
        room: Reverb for drums.
        plate: Reverb for voices.
        hall: Reverb for all other parts.
    """

    beat: float
    wetness: float
    drive: float
    room: Space
    plate: Space
    hall: Space


def draw_desk(beat: float, drive: float, rng: np.random.Generator) -> Desk:
    """Draw the mixing desk of a song.

    Args:
        beat: Duration of a beat in seconds.
        drive: Amount of saturation typical of the genre, 0 to 1.
        rng: Random generator for everything else.
    """
    return Desk(
        beat,
        float(rng.beta(1.3, 2.0)),
        float(np.clip(drive + rng.normal(0, 0.15), 0, 1)),
        draw_space(rng, (0.2, 1.3) if rng.random() < 0.8 else (1.2, 2.4), (0, 0.015)),
        draw_space(rng, (0.8, 2.4), (0.01, 0.08)),
        draw_space(rng, (0.6, 3.0), (0, 0.04)),
    )


def mix_drums(audio: np.ndarray, desk: Desk, rng: np.random.Generator) -> np.ndarray:
    """Mix the drum bus: close microphones, room, parallel compression, tape saturation."""
    dry = equalise(audio, [Band("high pass", rng.uniform(25, 45)), *random_tone(rng, 3, 3.5)])
    dry = brighten(dry, rng.normal(-20, 4))
    if rng.random() < 0.75:
        dry = compress(
            dry, rng.uniform(4, 14), rng.uniform(2, 5), rng.uniform(0.003, 0.03), rng.uniform(0.05, 0.25)
        )
    wet = desk.room.reverberate(equalise(dry, [Band("high pass", rng.uniform(40, 200))]))
    if rng.random() < 0.5:
        wet = compress(wet, rng.uniform(8, 20), rng.uniform(4, 12), 0.004, rng.uniform(0.1, 0.4))
    mixed = dry + wet * gain(rng.uniform(-26, -8) + 12 * desk.wetness)
    if rng.random() < 0.35:
        squashed = compress(mixed, 22, 8, 0.002, 0.15)
        mixed = mixed + squashed * gain(rng.uniform(-14, -5))
    if rng.random() < 0.3 + 0.5 * desk.drive:
        mixed = saturate(mixed, rng.uniform(0, 5 + 8 * desk.drive), rng.uniform(0, 0.2))
    return mixed


def mix_bass(audio: np.ndarray, drive: float | None, desk: Desk, rng: np.random.Generator) -> np.ndarray:
    """Mix the bass: direct signal and amplifier blended, compressed, in the centre.

    Args:
        audio: Bass `[2, length]`, before the amplifier.
        drive: Gain of the amplifier in dB; None for no amplifier.
        desk: Mixing desk of the song.
        rng: Random generator for the settings.

    Returns:
        Mixed bass `[2, length]`.
    """
    direct = place(audio.mean(axis=0, keepdims=True), 0.0)
    if drive is not None and drive > -6 and rng.random() < 0.75:
        amplified = place(amplify(audio, drive, rng), 0.0)
        share = rng.uniform(0.2, 0.7)
        direct = _normalise_level(direct) * (1 - share) + _normalise_level(amplified) * share
    mixed = equalise(direct, [Band("high pass", rng.uniform(28, 48)), *random_tone(rng, 3, 4)])
    if rng.random() < 0.8:
        mixed = brighten(mixed, rng.normal(-28, 6), 1200)
    if rng.random() < 0.85:
        mixed = compress(
            mixed, rng.uniform(5, 14), rng.uniform(3, 8), rng.uniform(0.005, 0.03), rng.uniform(0.05, 0.3)
        )
    if rng.random() < 0.4 + 0.4 * desk.drive:
        mixed = saturate(mixed, rng.uniform(2, 14), rng.uniform(0, 0.3))
    if rng.random() < 0.2:
        mixed = equalise(mixed, [Band("low pass", float(np.exp(rng.uniform(np.log(600), np.log(6000)))))])
    if rng.random() < 0.1:
        mixed = chorus(mixed, rng.uniform(0.3, 1.0), rng.uniform(0.001, 0.003), rng)
    return mixed


def mix_part(
    takes: Sequence[np.ndarray], role: str, drive: float | None, desk: Desk, rng: np.random.Generator
) -> np.ndarray:
    """Mix a part of the accompaniment.

    Args:
        takes: One, two or four takes of the part, each `[2, length]`; several are panned apart, as is done
            with double-tracked guitars.
        role: Role of the part, see `genres.Layer`.
        drive: Gain of the amplifier in dB; None for no amplifier.
        desk: Mixing desk of the song.
        rng: Random generator for the settings.

    Returns:
        Mixed part `[2, length]`.
    """
    sides = (0.0,) if len(takes) == 1 else (-1.0, 1.0, -0.6, 0.6)[: len(takes)]
    spread = rng.uniform(0.6, 1.0)
    placed = [
        place(_through_amplifier(take, drive, rng), side * spread)
        for take, side in zip(takes, sides, strict=True)
    ]
    mixed = np.sum(placed, axis=0)
    tone = [Band("high pass", float(np.exp(rng.uniform(np.log(30), np.log(180))))), *random_tone(rng, 3, 4)]
    mixed = equalise(mixed, tone)
    if rng.random() < 0.85:
        mixed = brighten(mixed, rng.normal(-25, 5))
    if rng.random() < 0.5:
        mixed = compress(
            mixed, rng.uniform(3, 10), rng.uniform(2, 4), rng.uniform(0.005, 0.03), rng.uniform(0.08, 0.3)
        )
    if drive is None and rng.random() < 0.12 + 0.25 * desk.drive:
        mixed = saturate(mixed, rng.uniform(0, 8), rng.uniform(0, 0.3))
    if rng.random() < (0.3 if role in ("pad", "comp", "arp", "scratch") else 0.1):
        mixed = chorus(mixed, rng.uniform(0.2, 1.2), rng.uniform(0.001, 0.006), rng)
    if role in ("pad", "comp") and rng.random() < 0.1:
        mixed = mixed * _tremolo(mixed.shape[1], desk.beat / rng.choice([1, 2, 4]), rng.uniform(0.2, 0.6))
    if rng.random() < (0.4 if role in ("lead", "arp", "skank", "stab") else 0.08):
        mixed = mixed + echo(mixed, desk.beat * rng.choice([0.5, 0.75, 1.0]), rng.uniform(0.15, 0.5))
    if len(takes) == 1:
        mixed = place(mixed, float(np.clip(rng.normal(0, 0.4), -0.9, 0.9)), rng.uniform(0.3, 1.4))
    send = rng.uniform(-28, -10) + 12 * desk.wetness + (4 if role in ("pad", "lead") else 0)
    return mixed + desk.hall.reverberate(mixed) * gain(send)


def mix_voice(
    audio: np.ndarray, desk: Desk, rng: np.random.Generator, *, lead: bool, pan: float = 0.0
) -> np.ndarray:
    """Mix vocals: equaliser, two compressors, plate reverb and delay.

    Args:
        audio: Vocals `[1, length]` or `[2, length]`.
        desk: Mixing desk of the song.
        rng: Random generator for the settings.
        lead: Whether this is the lead; backing vocals are duller and wetter.
        pan: Position from -1 (left) to 1 (right).

    Returns:
        Mixed vocals `[2, length]`.
    """
    tone = [
        Band("high pass", float(rng.uniform(70, 140))),
        Band("peak", float(rng.uniform(200, 450)), float(rng.uniform(-4, 1)), 0.9),
        Band("peak", float(rng.uniform(2500, 5000)), float(rng.uniform(-1, 4)), 0.7),
        Band("high shelf", 9000, float(rng.uniform(-1, 6) if lead else rng.uniform(-4, 2))),
        *random_tone(rng, 2, 3),
    ]
    voice = equalise(audio, tone)
    voice = compress(
        voice, rng.uniform(6, 12), rng.uniform(2, 4), rng.uniform(0.002, 0.01), rng.uniform(0.06, 0.2)
    )
    voice = compress(voice, rng.uniform(3, 8), rng.uniform(3, 8), 0.001, rng.uniform(0.04, 0.1))
    if rng.random() < 0.15 + 0.35 * desk.drive:
        voice = saturate(voice, rng.uniform(0, 4 + 8 * desk.drive), rng.uniform(0, 0.3))
    if rng.random() < 0.04:
        voice = equalise(voice, [Band("high pass", 500), Band("low pass", 3500)])
    voice = place(voice, pan)
    if not lead and rng.random() < 0.3:
        voice = chorus(voice, rng.uniform(0.3, 1.0), rng.uniform(0.001, 0.004), rng)
    wet = desk.plate.reverberate(voice) * gain(rng.uniform(-26, -12) + 13 * desk.wetness + (0 if lead else 4))
    if rng.random() < 0.4:
        time = 0.09 if rng.random() < 0.25 else desk.beat * rng.choice([0.5, 0.75, 1.0])
        wet = wet + echo(voice, time, rng.uniform(0.1, 0.4), 4) * gain(-4)
    return voice + wet


def balance(stems: Mapping[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Set the relative loudness of the stems, with the variation found in commercial recordings."""
    balanced = {}
    for name, stem in stems.items():
        middle, deviation = _BALANCE[name]
        level = loudness(stem)
        wanted = -18 + middle + float(np.clip(rng.normal(0, deviation), -2.2 * deviation, 2.2 * deviation))
        balanced[name] = stem * gain(wanted - level) if level > -70 else stem
    return balanced


def duck(audio: np.ndarray, times: Sequence[float], depth: float, recovery: float) -> np.ndarray:
    """Duck audio at every kick, like the side-chain compression of dance music.

    Args:
        audio: Audio to duck.
        times: Times of the kicks in seconds.
        depth: Gain reduction at the kick in dB.
        recovery: Time in seconds until the gain is back to normal.
    """
    curve = np.zeros(audio.shape[1], np.float32)
    dip = -depth * (1 - np.linspace(0, 1, max(1, round(recovery * RATE)), dtype=np.float32)) ** 2
    for time in times:
        start = max(0, round(time * RATE))
        length = min(len(dip), len(curve) - start)
        if length > 0:
            curve[start : start + length] = np.minimum(curve[start : start + length], dip[:length])
    return audio * 10 ** (curve / 20)


def master(stems: Mapping[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Send the stems through the mix bus: equaliser, compressor and limiter, the same for all stems.

    Args:
        stems: Stem of each source, `[2, length]`.
        rng: Random generator for the settings.

    Returns:
        Stems that together are as loud as commercial recordings, mostly -14 to -8 LUFS; neither a stem nor
        the mixture peaks above `CEILING`.
    """
    tilt = [
        Band("low shelf", 120, float(rng.normal(0, 1.2))),
        Band("high shelf", 7000, float(rng.normal(0.5, 1.5))),
        Band("high pass", 22),
    ]
    mixed = {name: equalise(stem, tilt) for name, stem in stems.items()}
    total = np.sum(list(mixed.values()), axis=0)
    target = float(np.clip(rng.normal(-11, 2.5), -18, -6.5))
    curve = np.full(total.shape[1], gain(target - loudness(total)), np.float32)
    if rng.random() < 0.7:
        depth, ratio = rng.uniform(2, 6), rng.uniform(1.5, 4)
        loud = float(20 * np.log10(np.percentile(np.abs(total * curve), 99.5) + 1e-9))
        reduction = compressor_gain(
            total * curve, loud - depth, ratio, rng.uniform(0.005, 0.03), rng.uniform(0.05, 0.3)
        )
        curve = curve * reduction * gain(depth * (1 - 1 / ratio) * 0.6)
    linked = np.concatenate([total, *mixed.values()])  # a stem may peak above the mixture
    for _ in range(2):
        curve = curve * limiter_gain(linked * curve, CEILING, rng.uniform(0.004, 0.04))
    return {name: stem * curve for name, stem in mixed.items()}


def _through_amplifier(take: np.ndarray, drive: float | None, rng: np.random.Generator) -> np.ndarray:
    """Amplify a take if its instrument has an amplifier, and normalise its level."""
    if drive is not None and (drive > 6 or rng.random() < 0.7):
        take = amplify(take, drive, rng)
    return _normalise_level(take)


def _normalise_level(audio: np.ndarray) -> np.ndarray:
    """Scale audio to an RMS of 0.1, measured without pauses."""
    power = (audio**2).mean(axis=0)
    loud = power[power > power.max(initial=0) * 1e-4]
    return audio * np.float32(0.1 / np.sqrt(loud.mean())) if len(loud) and loud.mean() > 1e-14 else audio


def _tremolo(length: int, period: float, depth: float) -> np.ndarray:
    """Gain of a tremolo for every sample, float32 `[length]`; `period` is in seconds."""
    wave = np.sin(2 * np.pi * np.arange(length) / (RATE * period))
    return (1 - depth * (0.5 + 0.5 * wave)).astype(np.float32)
