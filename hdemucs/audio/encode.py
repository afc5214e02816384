"""Writing stems to files: all of them, whole, under their final names; or none."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Literal

import torch
from torch import Tensor

from hdemucs.audio.codecs import choose_encoding
from hdemucs.audio.stem_file import Spool, StemFile
from hdemucs.audio.targets import place, prepare_target
from hdemucs.errors import OptionError, OutputError

# The largest 16-bit sample; 1 itself is one quantisation step beyond it.
_CEILING = 1 - 2**-15


class StemWriter:
    """Writes the stems of one track while they are being separated; a context manager.

    The files get their final names only together, at the end of the `with` block, when each is whole. Until
    then there are hidden files `.NAME.XXXXXXXX.part` beside them, which any exception removes. Folders are
    created as needed; existing files are replaced.

    Stems that exceed full scale are turned down together, so that the levels among them are kept. The peak is
    known only at the end: until then the stems lie in the hidden files as float32, and are encoded when
    the block ends. Where nothing can be turned down ("32f", or another `clip`), they are encoded right away.

    Args:
        paths: File of each stem by name, in the order of the stems in the blocks; suffixes do not matter.
        sample_rate: Sample rate in Hz.
        channels: Number of channels of each stem.
        format: Name of a format, one of `hdemucs.audio.codecs.WRITABLE`.
        bits: Bits per sample, one of the format's `bits`; "32f" is floating point. None chooses the first,
            "16" for WAV and FLAC, since everything plays it.
        bitrate: Constant bitrate in kbit/s, one of the format's `bitrates`. None chooses the highest.
        clip: What happens to samples beyond full scale. "rescale": all stems are multiplied by one gain if
            any of them would clip. "clamp": they are clipped. "none": they are left as they are, but integer
            formats clip them anyway.
        tags: Any of title, artist, album, date, genre, track and comment, for every stem.
        length: Expected number of samples per channel; None if unknown. A WAV above 4 GiB becomes RF64, which
            has to be decided when writing starts; a WAV of unknown length is therefore also kept as float32
            until the end.

    Attributes:
        gain: After success, the factor that all stems were multiplied by.

    Raises:
        OptionError: The options contradict one another.
        OutputError: On construction, the format cannot hold such audio; in the `with` statement and later, a
            file cannot be written because of its folder, its name or the disk, or a stem is not finite.
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
            raise OptionError(f"clip={clip!r} does not exist; choose rescale, clamp or none")
        self._paths = {stem: Path(path) for stem, path in paths.items()}
        if len({*self._paths.values()}) < len(self._paths):
            names = ", ".join(map(str, self._paths.values()))
            raise OptionError(f"two stems would be written to the same file; give each its own: {names}")
        self.gain = 1.0
        self._encoding = choose_encoding(format, bits, bitrate, sample_rate, channels)
        self._clip = clip
        self._tags = dict(tags or {})
        self._rescales = clip == "rescale" and not self._encoding.unbounded
        self._expected_length = length
        self._length = 0
        self._peak = 0.0
        self._spools: list[Spool] = []
        self._files: list[StemFile] = []
        self._cleanup = ExitStack()
        self._stop = Event()

    def __enter__(self) -> "StemWriter":
        with ExitStack() as cleanup:
            for path in self._paths.values():
                prepare_target(path)
            if self._rescales or (self._encoding.codec.needs_length and self._expected_length is None):
                for path in self._paths.values():
                    self._spools.append(Spool(path, self._encoding.channels, cleanup))
            else:
                for path in self._paths.values():
                    self._files.append(self._open(path, self._expected_length or 0, cleanup))
            # From here on, __exit__ cleans up.
            self._cleanup = cleanup.pop_all()
        return self

    def write(self, block: Tensor) -> None:
        """Append a block `[stems, channels, n]`, n >= 0, on any device and of any floating-point type.

        Raises:
            OutputError: The disk cannot be written, or a sample is NaN or infinite.
            ValueError: The block has another shape.
        """
        block = block.detach().to("cpu", torch.float32)
        if block.ndim != 3 or block.shape[:2] != (len(self._paths), self._encoding.channels):
            expected = f"[{len(self._paths)}, {self._encoding.channels}, n]"
            raise ValueError(f"a block must have the shape {expected}, not {[*block.shape]}")
        if block.shape[-1] == 0:
            return
        self._watch(block)
        if self._clip == "clamp":
            block = block.clamp(-1, 1)
        sinks: Sequence[Spool | StemFile] = self._spools or self._files
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
        """Keep the peak, and check that every sample is finite."""
        peaks = block.abs().amax(dim=(1, 2))
        for stem, peak in zip(self._paths, peaks.tolist(), strict=True):
            if not peak < float("inf"):
                second = self._length / self._encoding.sample_rate
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
        place({file.part: file.path for file in self._files})

    def _encode_spools(self) -> None:
        """Encode what was spooled and finish all files; in threads, since codecs release Python's lock."""
        with ThreadPoolExecutor() as pool:
            try:
                self._files += pool.map(self._encode, self._paths.values(), self._spools)
                for _ in pool.map(StemFile.finish, self._files):
                    pass
            except BaseException:
                # The pool waits for its threads; a user who has interrupted should not have to.
                self._stop.set()
                raise

    def _encode(self, path: Path, spool: Spool) -> StemFile:
        encoder = self._open(path, self._length, self._cleanup)
        for samples in spool.drain():
            if self._stop.is_set():
                break
            encoder.write(samples * self.gain)
        return encoder

    def _open(self, path: Path, length: int, cleanup: ExitStack) -> StemFile:
        return StemFile(path, self._encoding, length, self._tags, cleanup)
