"""`hdemucs separate`: songs to stems."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hdemucs.audio.codecs import BITS, WRITABLE
from hdemucs.cli.output import complain, make_table, note, plain, print_table, progress_bar
from hdemucs.errors import HDemucsError, OptionError
from hdemucs.pretrained import BEST_MODEL, DEFAULT_MODEL
from hdemucs.tracks import DEFAULT_TEMPLATE, Track, find_tracks, plan

if TYPE_CHECKING:
    from hdemucs.apply import Progress
    from hdemucs.separator import Format, Separator, Written

COMPUTATION = ("device", "segment", "overlap", "shifts", "batch_size")
"""Options of the computation, by their names in `hdemucs.apply.Options`."""

# What a user of demucs types by habit, and what to type here.
HINTS = {
    "--no-split": "the track is always streamed in segments; --segment sets their length",
    "--repo": "give the path of the model file or bag to --model",
    "-s": "give the path of the model file to --model",
    "--sig": "give the path of the model file to --model",
    "--list-models": "run `hdemucs models`",
    "--other-method": "no_STEM is always the sum of the other stems",
    "--mp3-preset": "--bitrate sets the quality of MP3",
    "-v": "errors say what is wrong without it",
    "--verbose": "errors say what is wrong without it",
}


class Hint(argparse.Action):
    """An option of demucs that has no counterpart, answered with what to do instead."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None
    ) -> NoReturn:
        parser.error(f"there is no {option}: {HINTS[str(option)]}")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "separate",
        help="separate songs into stems",
        description="Separate songs into stems: OUT/MODEL/TRACK/STEM.EXT.",
    )
    parser.set_defaults(run=run, parser=parser, words="inputs")
    add = parser.add_argument
    add("inputs", nargs="+", type=_path, metavar="INPUT", help="audio or video files, or folders of them")
    model = parser.add_argument_group("model")
    model.add_argument(
        "-n",
        "--model",
        "--name",
        metavar="MODEL",
        help=f"a name of `hdemucs models`, a file, or hf://user/repo (default: {DEFAULT_MODEL})",
    )
    model.add_argument(
        "--stems", type=_names, metavar="A,B", help="only these stems, as in --stems vocals,drums"
    )
    model.add_argument("--two-stems", metavar="STEM", help="STEM and the sum of all others, as no_STEM")

    output = parser.add_argument_group("output")
    output.add_argument(
        "-o", "--out", type=Path, default=Path("separated"), help="folder (default: separated)"
    )
    output.add_argument(
        "--filename",
        default=DEFAULT_TEMPLATE,
        metavar="TEMPLATE",
        help="names below OUT/MODEL, of {track}, {trackext}, {stem}, {ext} (default: %(default)s)",
    )
    formats, depths = output.add_mutually_exclusive_group(), output.add_mutually_exclusive_group()
    formats.add_argument(
        "--format",
        choices=[*WRITABLE],
        default=next(iter(WRITABLE)),
        help="of the stems (default: %(default)s)",
    )
    depths.add_argument("--bits", choices=BITS, help=f"of {_having('bits')} (default: {BITS[0]})")
    output.add_argument(
        "--bitrate",
        "--mp3-bitrate",
        type=int,
        metavar="KBIT",
        help=f"of {_having('bitrates')}, in kbit/s (default: the highest)",
    )
    output.add_argument(
        "--clip",
        "--clip-mode",
        choices=["rescale", "clamp", "none"],
        default="rescale",
        help="beyond full scale: turn all stems of a song down alike, cut off, or leave (default: rescale)",
    )
    existing = output.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace stems that exist")
    existing.add_argument(
        "--skip-existing", action="store_true", help="leave songs out whose stems all exist"
    )
    output.add_argument("--json", action="store_true", help="print the result as JSON")

    compute = parser.add_argument_group("computation")
    add_computation(compute)
    compute.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="segments at once on a CPU")

    for group, flag, name, value in (
        (formats, "--mp3", "format", "mp3"),
        (formats, "--flac", "format", "flac"),
        (depths, "--int24", "bits", "24"),
        (depths, "--float32", "bits", "32f"),
    ):
        group.add_argument(flag, dest=name, action="store_const", const=value, help=argparse.SUPPRESS)
    for flag in HINTS:
        add(flag, action=Hint, nargs="?", help=argparse.SUPPRESS)


def _having(choice: str) -> str:
    """Formats with a choice of `bits` or `bitrates`, for help texts."""
    return " and ".join(codec.name.upper() for codec in WRITABLE.values() if getattr(codec, choice))


def add_computation(group: Any) -> None:
    """Add the options in `COMPUTATION`."""
    add = group.add_argument
    add("-d", "--device", help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")
    add("--segment", type=float, metavar="S", help="seconds at a time (default: the model's)")
    add("--overlap", type=float, default=0.25, help="of segments (default: 0.25)")
    add("--shifts", type=int, default=1, help="averaged passes: slower, better (default: 1)")
    add("--batch-size", type=int, default=1, metavar="N", help="segments at once on a GPU")


def _path(text: str) -> Path:
    """A path that is not empty: of nothing, `Path` would make the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return Path(text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def run(args: argparse.Namespace) -> int:
    """`hdemucs separate`: all tracks, whatever happens to one of them."""
    tracks = find_tracks(args.inputs, args.out)
    from hdemucs.separator import Format, Separator

    format = Format(args.format, args.bits, args.bitrate, args.clip)
    separator = Separator(
        args.model or DEFAULT_MODEL,
        stems=args.stems,
        two_stems=args.two_stems,
        jobs=args.jobs,
        **{name: getattr(args, name) for name in COMPUTATION},
    )
    name = getattr(separator.model, "name", "model")
    targets = plan(tracks, args.out / name, args.filename, separator.stems, format.format)
    # What the format cannot hold is found now, not track by track.
    format.writer({}, separator.sample_rate, separator.model.audio_channels, 0, {})
    results = Run(separator, format, args).all(tracks, targets)
    print_results(results, name, as_json=args.json)
    return int(any(result["status"] == "failed" for result in results))


class Run:
    """One `hdemucs separate`: its tracks, one after another, under one progress bar."""

    def __init__(self, separator: Separator, format: Format, args: argparse.Namespace) -> None:
        self.separator = separator
        self.format = format
        self.args = args

    def all(self, tracks: Sequence[Track], targets: Sequence[dict[str, Path]]) -> list[dict[str, Any]]:
        lengths = [_length(track) for track in tracks]
        results = []
        with progress_bar() as bar:
            task = bar.add_task("", total=sum(lengths))
            for index, (track, paths) in enumerate(zip(tracks, targets, strict=True)):
                before = sum(lengths[:index])
                bar.update(task, description=track.name, completed=before, refresh=True)

                def advance(event: Progress, before: float = before, length: float = lengths[index]) -> None:
                    bar.update(task, completed=before + length * event.done / (event.total or event.done))

                results.append(self.one(track, paths, advance))
        return results

    def one(self, track: Track, paths: dict[str, Path], progress: Any) -> dict[str, Any]:
        result: dict[str, Any] = {"track": str(track.path)}
        existing = [path for path in paths.values() if os.path.exists(path)]  # noqa: PTH110
        if self.args.skip_existing and len(existing) == len(paths):
            return {**result, "status": "skipped", "stems": _strings(paths)}
        try:
            if existing and not (self.args.overwrite or self.args.skip_existing):
                raise OptionError(f"{existing[0]} exists; choose --overwrite or --skip-existing")
            written: Written = self.separator.separate_file(track.path, paths, self.format, progress=progress)
        except HDemucsError as error:
            complain(str(error))
            return {**result, "status": "failed", "error": str(error)}
        return {
            **result,
            "status": "written",
            "stems": _strings(written.stems),
            "seconds": round(written.seconds, 3),
            "gain": written.gain,
        }


def _length(track: Track) -> float:
    """Seconds of a track as its header says; a file that cannot be opened is reported in its turn."""
    from hdemucs import audio

    try:
        source = audio.open(track.path)
    except HDemucsError:
        return 0.0
    return (source.length or 0) / source.sample_rate


def _strings(paths: dict[str, Path]) -> dict[str, str]:
    return {stem: str(path) for stem, path in paths.items()}


def print_results(results: Sequence[dict[str, Any]], model: str, *, as_json: bool) -> None:
    """What was written, as a table or as JSON."""
    if as_json:
        print(json.dumps({"model": model, "tracks": results}, indent=2))
        return
    rows = make_table("track", "result", "files")
    for result in results:
        seconds = f"{result['seconds']:.1f} s" if "seconds" in result else ""
        gain = result.get("gain", 1.0)
        turned = f", turned down {-20 * math.log10(gain):.1f} dB" if gain != 1.0 else ""
        rows.add_row(
            plain(result["track"]),
            plain(f"{result['status']} {seconds}{turned}".strip()),
            plain("\n".join(result.get("stems", {}).values())),
        )
    print_table(rows)
    if any(result["status"] == "written" for result in results):
        note(credit(model))


def credit(model: str) -> str:
    """Which model was used, and how to come by a better one."""
    if model == DEFAULT_MODEL:
        return (
            f"separated with {model}, the small model that ships with hdemucs; "
            f"far better, downloaded once: --model {BEST_MODEL}"
        )
    return f"separated with the model {model}; `hdemucs models` lists others"
