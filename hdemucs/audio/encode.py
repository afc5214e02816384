"""Stems to files: all of them, whole, under their names; or none."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Literal

import torch
from torch import Tensor

from hdemucs.audio.formats import choose_encoding
from hdemucs.audio.refusals import place, prepare_target
from hdemucs.audio.sinks import Encoder, Spool
from hdemucs.errors import OptionError, OutputError

# The largest positive sample of 16 bits; 1 itself is a step beyond.
_CEILING = 1 - 2**-15


class StemWriter:
    """Writes the stems of one track while they are being separated; a context manager.

    The files get their final names only together, at the end of the `with` block, when each is whole.
    Until then there are hidden files `.NAME.XXXXXXXX.part` beside them, which vanish with any exception.
    Folders are made as needed; existing files are replaced.

    Stems that go beyond full scale are turned down together, so that they still add up to the mixture.
    The peak is known only at the end: until then the stems lie in the hidden files as float32, and are
    encoded when the block ends. Where nothing can be turned down ("32f", or another `clip`), they are
    encoded right away.

    Args:
        paths: stem name -> file, in the order of the stems in the blocks.
        sample_rate: in Hz.
        channels: their number.
        format: "wav", "flac", "mp3" or "ogg" (Vorbis at about 256 kbit/s); the paths' suffixes do not count.
        bits: wav "16" (default, since everything plays it), "24", "32f" (float); flac "16" (default), "24".
        bitrate: mp3, in kbit/s, constant; default the highest there is, 320 for rates from 32 kHz on.
        clip: "rescale": one common gain for all stems if one of them would clip; "clamp": cut at full
            scale; "none": leave samples as they are, though integer formats cut them all the same.
        tags: any of title, artist, album, date, genre, track, comment, for every stem.
        length: expected length, if known. A WAV above 4 GiB becomes RF64, which must be known when it is
            begun; one of unknown length is therefore kept as float32 until the end as well.

    Attributes:
        gain: after success, what all stems were multiplied by.

    Raises:
        OptionError: the options contradict one another.
        OutputError: at once, the format cannot hold such audio; in the `with` statement and later, the
            folder, the disk or the file name refuses, or a stem is not finite.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        sample_rate: int,
        channels: int,
        *,
        format: str = "wav",
        bits: str | None = None,
        bitrate: int | None = None,
        clip: Literal["rescale", "clamp", "none"] = "rescale",
        tags: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        if clip not in ("rescale", "clamp", "none"):
            raise OptionError(f"there is no clip mode {clip!r}; choose rescale, clamp or none")
        self._paths = {stem: Path(path) for stem, path in paths.items()}
        if len({*self._paths.values()}) < len(self._paths):
            names = ", ".join(map(str, self._paths.values()))
            raise OptionError(f"two stems would be written to the same file; give them names: {names}")
        self.gain = 1.0
        self._encoding = choose_encoding(format, bits, bitrate, sample_rate, channels)
        self._sample_rate = sample_rate
        self._channels = channels
        self._clip = clip
        self._tags = dict(tags or {})
        self._rescales = clip == "rescale" and not self._encoding.unbounded
        self._expected_length = length
        self._length = 0
        self._peak = 0.0
        self._spools: list[Spool] = []
        self._encoders: list[Encoder] = []
        self._cleanup = ExitStack()
        self._stop = Event()

    def __enter__(self) -> "StemWriter":
        with ExitStack() as cleanup:
            for path in self._paths.values():
                prepare_target(path)
            if self._rescales or (self._encoding.format == "wav" and self._expected_length is None):
                for path in self._paths.values():
                    self._spools.append(Spool(path, self._channels, cleanup))
            else:
                for path in self._paths.values():
                    self._encoders.append(self._encoder(path, self._expected_length or 0, cleanup))
            # From here on it is __exit__ that cleans up.
            self._cleanup = cleanup.pop_all()
        return self

    def write(self, block: Tensor) -> None:
        """Append a block `[stems, channels, n]`, n >= 0, on any device, of any floating type."""
        block = block.detach().to("cpu", torch.float32)
        if block.ndim != 3 or block.shape[:2] != (len(self._paths), self._channels):
            expected = f"[{len(self._paths)}, {self._channels}, n]"
            raise ValueError(f"a block has the shape {expected}, not {[*block.shape]}")
        if block.shape[-1] == 0:
            return
        self._watch(block)
        if self._clip == "clamp":
            block = block.clamp(-1, 1)
        sinks: Sequence[Spool | Encoder] = self._spools or self._encoders
        for sink, samples in zip(sinks, block, strict=True):
            sink.write(samples)
        self._length += block.shape[-1]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._cleanup:
            if error is None:
                self._finish()

    def _watch(self, block: Tensor) -> None:
        """Keep the peak, which is not finite if any sample is not."""
        peaks = block.abs().amax(dim=(1, 2))
        for stem, peak in zip(self._paths, peaks.tolist(), strict=True):
            if not peak < float("inf"):
                second = self._length / self._sample_rate
                raise OutputError(
                    f"cannot write {self._paths[stem]}: {stem} is NaN or infinite after {second:.1f} s; "
                    "separate in float32, or with another model"
                )
            self._peak = max(self._peak, peak)

    def _finish(self) -> None:
        if not self._length:
            names = ", ".join(map(str, self._paths.values()))
            raise OutputError(f"cannot write {names}: there is no audio to write; check the source")
        if self._rescales and self._peak > 1:
            self.gain = _CEILING / self._peak
        self._encode_spools()
        place({encoder.part: encoder.path for encoder in self._encoders})

    def _encode_spools(self) -> None:
        """Bring every encoder to its end; in threads, since libsndfile works outside Python's lock."""
        with ThreadPoolExecutor() as pool:
            try:
                self._encoders += pool.map(self._encode, self._paths.values(), self._spools)
                for _ in pool.map(Encoder.finish, self._encoders):
                    pass
            except BaseException:
                # The pool waits for its threads; an interrupted user should not.
                self._stop.set()
                raise

    def _encode(self, path: Path, spool: Spool) -> Encoder:
        encoder = self._encoder(path, self._length, self._cleanup)
        for samples in spool.drain():
            if self._stop.is_set():
                break
            encoder.write(samples * self.gain)
        return encoder

    def _encoder(self, path: Path, length: int, cleanup: ExitStack) -> Encoder:
        return Encoder(path, self._encoding, self._sample_rate, self._channels, length, self._tags, cleanup)
