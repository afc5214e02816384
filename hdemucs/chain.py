"""Chains: stems of one model that another takes apart, in one stream and without files in between.

Every model of a chain works in the units of the first, in which the track has mean 0 and standard deviation
1. The level of a stem would be known only at its end; it makes next to no difference, since the networks
normalise each segment themselves.

Letters in shapes: S sources, C channels, L samples.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hdemucs.apply import Options, Progress, ProgressCallback, apply, check_segment
from hdemucs.audio.blocks import BLOCK_LENGTH
from hdemucs.audio.remixing import remix
from hdemucs.audio.resampling import resample
from hdemucs.errors import AudioError, OptionError
from hdemucs.model import Model
from hdemucs.pretrained import model_name


@dataclass(frozen=True)
class Link:
    """A stem that is separated further.

    Attributes:
        stem: Name of the stem, of the first model or of a link before.
        model: Model whose sources take its place.
    """

    stem: str
    model: Model


def make_links(then: object, load: Callable[[Any], Model]) -> list[Link]:
    """Links from what users give: a mapping from stems to models, in the order of the links.

    Raises:
        OptionError: It is not a mapping from names.
    """
    if not isinstance(then, Mapping) or not all(isinstance(stem, str) for stem in then):
        raise OptionError("then must map names of stems to models, as in {'drums': 'drumsep'}")
    return [Link(stem, load(model)) for stem, model in then.items()]


def trace(links: Sequence[Link], stems: Iterable[str]) -> tuple[list[str], list[Link]]:
    """Stems of the first model from which a chain makes the given ones, and the links that are run for them.

    Raises:
        OptionError: One of the stems is taken apart by a link.
    """
    wanted, used = list(stems), []
    for link in reversed(links):
        parts = link.model.sources
        if link.stem in wanted and link.stem not in parts:
            raise OptionError(f"the stem {link.stem} is separated further; choose from {', '.join(parts)}")
        if any(name in parts for name in wanted):
            wanted = [*dict.fromkeys(link.stem if name in parts else name for name in wanted)]
            used.append(link)
    return wanted, used[::-1]


def stems_of(model: Model, links: Sequence[Link]) -> list[str]:
    """Names of all stems of a chain: sources of a link take the place of the stem that it separates.

    Raises:
        OptionError: A link separates a stem that there is not, or two stems would have one name.
    """
    names = list(model.sources)
    for link in links:
        if link.stem not in names:
            raise OptionError(
                f"there is no stem {link.stem} for {model_name(link.model)} to separate; "
                f"choose from {', '.join(names)}"
            )
        place = names.index(link.stem)
        others = [*names[:place], *names[place + 1 :]]
        if twice := [name for name in link.model.sources if name in others]:
            raise OptionError(
                f"{model_name(link.model)} separates {link.stem} into {', '.join(link.model.sources)}, of "
                f"which {', '.join(twice)} would be there twice; separate the stem {link.stem} on its own"
            )
        names[place : place + 1] = link.model.sources
    return names


def check_links(model: Model, links: Sequence[Link], options: Options) -> None:
    """Raise OptionError if a link takes no segment so long, or no audio like that of `model`."""
    for link in links:
        have, wanted = model.audio_channels, link.model.audio_channels
        try:
            check_segment(link.model, options)
            remix(remix(torch.zeros(have, 1), wanted), have)
        except (OptionError, AudioError) as error:
            raise OptionError(f"{model_name(link.model)} cannot separate {link.stem}: {error}") from error


def apply_chain(
    model: Model,
    links: Sequence[Link],
    blocks: Iterable[Tensor],
    options: Options,
    *,
    sources: Sequence[str],
    length: int | None = None,
    **how: Any,
) -> Iterator[Tensor]:
    """Separate a stream of audio as `hdemucs.apply.apply` does, by a chain.

    Args:
        model: First model.
        links: What separates its stems further, in order.
        blocks: Audio `[C, L]` of the first model's sample rate and channels.
        options: Options for all models; progress is the mean of theirs.
        sources: Stems to return, in this order, of `stems_of(model, links)`.
        length: Length of the track in samples, None if unknown.
        how: Other arguments of `hdemucs.apply.apply`.

    Yields:
        Blocks `[S, C, L]` at the first model's sample rate, together as long as the track.
    """
    names, used = trace(links, sources)
    total = None if length is None else length / model.sample_rate
    first, *others = _shared(options.progress, 1 + len(used), total)
    stream = apply(model, blocks, replace(options, progress=first), sources=names, length=length, **how)
    wanted = set(sources)
    for index, (link, progress) in enumerate(zip(used, others, strict=True)):
        later = {after.stem for after in used[index + 1 :]}
        parts = [name for name in link.model.sources if name in wanted | later]
        place = names.index(link.stem)
        separate = _separation(model, link, parts, replace(options, progress=progress), length, **how)
        stream = _replace_stem(stream, place, separate)
        names = [*names[:place], *parts, *names[place + 1 :]]
    order = [names.index(name) for name in sources]
    yield from stream if names == list(sources) else (block[order] for block in stream)


Separation = Callable[[Iterator[Tensor]], Iterator[Tensor]]
"""Blocks `[C, L]` of a stem in, blocks `[S, C, L]` of its parts out."""


def _separation(
    model: Model, link: Link, parts: Sequence[str], options: Options, length: int | None, **how: Any
) -> Separation:
    """Separation by the model of a link, at the sample rate and with the channels of `model`."""
    rate, channels = model.sample_rate, model.audio_channels
    own_rate, own_channels = link.model.sample_rate, link.model.audio_channels
    own_length = None if length is None else length * own_rate // rate
    patience = 1 if how.get("live") else BLOCK_LENGTH

    def separate(stem: Iterator[Tensor]) -> Iterator[Tensor]:
        mix = resample((remix(block, own_channels) for block in stem), rate, own_rate, block_length=patience)
        out = apply(link.model, mix, options, sources=parts, length=own_length, **how)
        flat = (torch.cat([remix(part, channels) for part in block]) for block in out)
        for block in resample(flat, own_rate, rate, block_length=patience):
            yield block.unflatten(0, (len(parts), channels))

    return separate


def _replace_stem(stream: Iterator[Tensor], place: int, separate: Separation) -> Iterator[Tensor]:
    """Put the parts of a stem in its place; the other stems wait for as long as its separation is behind.

    Args:
        stream: Blocks `[S, C, L]` of all stems.
        place: Index of the stem.
        separate: Its separation.

    Yields:
        Blocks `[S + parts - 1, C, L]`, together as long as the stream.
    """
    # Filled and emptied by two threads where the separation reads ahead.
    waiting: deque[Tensor] = deque()

    def stem() -> Iterator[Tensor]:
        for block in stream:
            waiting.append(block)
            yield block[place]

    parts: Tensor | None = None
    for parts in separate(stem()):
        yield from _join(waiting, place, parts)
    # Resampling there and back may lose less than a sample of the lower rate.
    if parts is not None and (missing := sum(block.shape[-1] for block in waiting)):
        yield from _join(waiting, place, F.pad(parts[..., :0], (0, missing)))


def _join(waiting: deque[Tensor], place: int, parts: Tensor) -> Iterator[Tensor]:
    """Blocks of what has waited as far as `parts` go, with them in the place of their stem."""
    while parts.shape[-1] and waiting:
        block = waiting.popleft()
        length = min(block.shape[-1], parts.shape[-1])
        if length < block.shape[-1]:
            waiting.appendleft(block[..., length:])
        yield torch.cat([block[:place, :, :length], parts[..., :length], block[place + 1 :, :, :length]])
        parts = parts[..., length:]


def _shared(
    progress: ProgressCallback | None, count: int, total: float | None
) -> list[ProgressCallback | None]:
    """Callbacks for several models at work on one track, which report the mean of their progress."""
    if progress is None or count == 1:
        return [progress] * count
    done, lock = [0.0] * count, Lock()

    def callback(number: int) -> ProgressCallback:
        def advance(event: Progress) -> None:
            # One model may run in the thread that reads ahead for another.
            with lock:
                done[number] = event.done
                progress(Progress(math.fsum(done) / count, total))

        return advance

    return [callback(number) for number in range(count)]
