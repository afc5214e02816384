"""`hdemucs separate`: songs to stems."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hdemucs.audio.codecs import BITS, WRITABLE
from hdemucs.cli.options import add_computation, computation
from hdemucs.cli.output import complain, credit, make_table, note, plain, print_table, progress_bar
from hdemucs.errors import OutputError, StemsExistError
from hdemucs.pretrained import DEFAULT_MODEL, model_name
from hdemucs.tracks import DEFAULT_TEMPLATE, Track, find_tracks

if TYPE_CHECKING:
    from hdemucs.batch import BatchEvent, TrackOutcome
    from hdemucs.separator import Format, Separator

# What a user of demucs types by habit, and what to do instead.
HINTS = {
    "--no-split": "tracks are always streamed in segments; --segment sets their length",
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
    """An option of demucs that has no counterpart here: the error says what to do instead."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None
    ) -> NoReturn:
        parser.error(f"there is no option {option}: {HINTS[str(option)]}")


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "separate",
        help="separate songs into stems",
        description="Separate songs into stems: OUT/MODEL/TRACK/STEM.EXT.",
    )
    parser.set_defaults(run=run, parser=parser, words="inputs")
    parser.add_argument(
        "inputs",
        nargs="+",
        type=_path,
        metavar="INPUT",
        help="audio or video files, or folders to search for them",
    )
    _add_model(parser.add_argument_group("model"))
    _add_output(parser.add_argument_group("output"))
    compute = parser.add_argument_group("computation")
    add_computation(compute)
    compute.add_argument(
        "-j", "--jobs", type=int, default=1, metavar="N", help="segments at once on a CPU (default: 1)"
    )
    for flag in HINTS:
        parser.add_argument(flag, action=Hint, nargs="?", help=argparse.SUPPRESS)


def _add_model(group: Any) -> None:
    group.add_argument(
        "-n",
        "--model",
        "--name",
        metavar="MODEL",
        default=DEFAULT_MODEL,
        help="a name listed by `hdemucs models`, a model file, or hf://user/repo (default: %(default)s)",
    )
    group.add_argument(
        "--stems", type=_names, metavar="A,B", help="only these stems, for example vocals,drums"
    )
    group.add_argument(
        "--two-stems", metavar="STEM", help="STEM, and the sum of all others as no_STEM, instead of all stems"
    )


def _add_output(group: Any) -> None:
    group.add_argument(
        "-o", "--out", type=Path, default=Path("separated"), help="output folder (default: separated)"
    )
    group.add_argument(
        "--filename",
        default=DEFAULT_TEMPLATE,
        metavar="TEMPLATE",
        help="path of a stem below OUT/MODEL, with {track}, {trackext}, {stem} and {ext} "
        "(default: %(default)s)",
    )
    formats, depths = group.add_mutually_exclusive_group(), group.add_mutually_exclusive_group()
    formats.add_argument(
        "--format",
        choices=[*WRITABLE],
        default=next(iter(WRITABLE)),
        help="format of the stems (default: %(default)s)",
    )
    depths.add_argument(
        "--bits", choices=BITS, help=f"bits per sample of {_having('bits')} (default: {BITS[0]})"
    )
    group.add_argument(
        "--bitrate",
        "--mp3-bitrate",
        type=int,
        metavar="KBIT",
        help=f"bit rate of {_having('bitrates')} in kbit/s (default: the highest)",
    )
    group.add_argument(
        "--clip",
        "--clip-mode",
        choices=["rescale", "clamp", "none"],
        default="rescale",
        help="what to do with samples beyond full scale: turn all stems of the song down by the same gain, "
        "cut the peaks off, or leave them to the format (default: rescale)",
    )
    existing = group.add_mutually_exclusive_group()
    for flag, value, text in (
        ("--overwrite", "overwrite", "replace stems that exist"),
        ("--skip-existing", "skip", "skip songs whose stems all exist"),
    ):
        existing.add_argument(
            flag, dest="existing", action="store_const", const=value, default="error", help=text
        )
    group.add_argument(
        "--strict", action="store_true", help="fail on a file that ends before it should, not just warn"
    )
    group.add_argument("--json", action="store_true", help="print the result as JSON")
    # As in demucs.
    for choices, flag, name, value in (
        (formats, "--mp3", "format", "mp3"),
        (formats, "--flac", "format", "flac"),
        (depths, "--int24", "bits", "24"),
        (depths, "--float32", "bits", "32f"),
    ):
        choices.add_argument(flag, dest=name, action="store_const", const=value, help=argparse.SUPPRESS)


def _having(choice: str) -> str:
    """Formats with a choice of `bits` or `bitrates`, for help texts."""
    return " and ".join(codec.name.upper() for codec in WRITABLE.values() if getattr(codec, choice))


def _path(text: str) -> Path:
    """Path that is not empty: `Path` would turn an empty name into the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name of the file is empty")
    return Path(text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def run(args: argparse.Namespace) -> int:
    """Run `hdemucs separate`."""
    tracks = find_tracks(args.inputs, args.out)
    from hdemucs.separator import Format, Separator

    format = Format(args.format, args.bits, args.bitrate, args.clip)
    separator = Separator(
        args.model, stems=args.stems, two_stems=args.two_stems, jobs=args.jobs, **computation(args)
    )
    model = model_name(separator.model)
    outcomes = [
        _in_flags(outcome) for outcome in _separate(separator, tracks, args.out / model, format, args)
    ]
    if args.json:
        print(json.dumps({"model": model, "tracks": [outcome.as_json() for outcome in outcomes]}, indent=2))
    else:
        _print_outcomes(outcomes)
        if any(outcome.status == "written" for outcome in outcomes):
            note(credit(model))
    return int(any(outcome.status == "failed" for outcome in outcomes))


def _separate(
    separator: Separator, tracks: Sequence[Track], out: Path, format: Format, args: argparse.Namespace
) -> list[TrackOutcome]:
    """Separate all tracks under one progress bar; failures are reported as they happen."""
    from hdemucs.batch import TrackFinished, TrackProgress, separate_tracks

    with progress_bar() as bar:
        task = bar.add_task("")

        def show(event: BatchEvent) -> None:
            bar.update(
                task,
                description=event.track.name,
                completed=event.done,
                total=event.total,
                refresh=not isinstance(event, TrackProgress),
            )
            if isinstance(event, TrackFinished):
                if event.outcome.error is not None:
                    complain(str(_in_flags(event.outcome).error))
                for warning in event.outcome.warnings:
                    complain(f"warning: {warning}")

        return separate_tracks(
            separator,
            tracks,
            out,
            template=args.filename,
            format=format,
            existing=args.existing,
            strict=args.strict,
            on_event=show,
        )


def _in_flags(outcome: TrackOutcome) -> TrackOutcome:
    """Word the remedy for existing stems as flags of this command."""
    if not isinstance(outcome.error, StemsExistError):
        return outcome
    message = f"{outcome.error.path} exists; choose --overwrite or --skip-existing"
    return replace(outcome, error=OutputError(message))


def _print_outcomes(outcomes: Sequence[TrackOutcome]) -> None:
    rows = make_table("track", "result", "files")
    for outcome in outcomes:
        seconds = "" if outcome.seconds is None else f" {outcome.seconds:.1f} s"
        gain = 1.0 if outcome.gain is None else outcome.gain
        turned_down = "" if gain == 1.0 else f", turned down {-20 * math.log10(gain):.1f} dB"
        rows.add_row(
            plain(str(outcome.track.path)),
            plain(f"{outcome.status}{seconds}{turned_down}"),
            plain("\n".join(map(str, outcome.stems.values()))),
        )
    print_table(rows)
