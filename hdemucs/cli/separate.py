"""`hdemucs separate`: songs to stems."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hdemucs.audio.codecs import BITS, WRITABLE
from hdemucs.cli.options import add_computation, add_existing, computation, in_flags
from hdemucs.cli.output import (
    advice,
    columns,
    complain,
    first_time,
    note,
    printable,
    progress_bar,
    terminal_width,
    wrapped,
)
from hdemucs.cli.pipes import PIPE, PIPED_NAME, check_stdout, give_stdout, pipe_folder, take_stdin
from hdemucs.errors import AudioError, OptionError
from hdemucs.pretrained import DEFAULT_MODEL
from hdemucs.tracks import DEFAULT_TEMPLATE, Track, check_not_url, find_tracks, template_format

if TYPE_CHECKING:
    from hdemucs.batch import BatchEvent, TrackOutcome
    from hdemucs.separator import Separator
    from hdemucs.stems import Format

DEFAULT_FORMAT = next(iter(WRITABLE))

# What a user of another program types by habit, and what to do instead.
HINTS = {
    "--no-split": "tracks are always streamed in segments; --segment sets their length",
    "--repo": "put the folder before the name or signature, as in --model FOLDER/955717e8",
    "-s": "put the signature behind its folder, as in --model FOLDER/955717e8",
    "--sig": "put the signature behind its folder, as in --model FOLDER/955717e8",
    "--list-models": "run `hdemucs models`",
    "--other-method": "no_STEM is always the sum of the other stems",
    "--mp3-preset": "--bitrate sets the quality of MP3",
    # Of audio-separator.
    "--output_dir": "--out sets the folder of the stems",
    "--output_format": "--format sets the format of the stems",
    "--single_stem": "--stems chooses the stems, as in --stems vocals",
    "--model_filename": "--model takes a name listed by `hdemucs models`, or a model file",
    "--model_file_dir": "--model takes the path of a model file",
}


class Hint(argparse.Action):
    """An option of another program that has no counterpart here: the error says what to do instead."""

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
        help="audio or video files, folders to search for them, or - for audio from a pipe",
    )
    _add_model(parser.add_argument_group("model"))
    _add_output(parser.add_argument_group("output"))
    compute = parser.add_argument_group("computation")
    add_computation(compute)
    compute.add_argument(
        "-j",
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="tracks or segments at once: on a CPU, each takes "
        "the memory of one; on several CUDA GPUs, tracks are spread over up to N (default: 1)",
    )
    for flag in HINTS:
        parser.add_argument(flag, action=Hint, nargs="?", help=argparse.SUPPRESS)


def _add_model(group: Any) -> None:
    group.add_argument(
        "-n",
        "--model",
        "--name",
        metavar="MODEL",
        help=f"a name listed by `hdemucs models`, a model file, or hf://user/repo (default: {DEFAULT_MODEL})",
    )
    group.add_argument(
        "--stems",
        type=_names,
        action="extend",
        metavar="A,B",
        help="only these stems, for example vocals,drums",
    )
    group.add_argument(
        "--then",
        type=_link,
        action="append",
        default=[],
        metavar="MODEL:STEM",
        help="separate a stem further by another model, as in drumsep:drums; may be repeated",
    )
    group.add_argument(
        "--two-stems", metavar="STEM", help="STEM, and the sum of all others as no_STEM, instead of all stems"
    )


def _add_output(group: Any) -> None:
    group.add_argument(
        "-o",
        "--out",
        type=_path,
        default=Path("separated"),
        help="output folder, or - to write one stem to a pipe (default: separated)",
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
        type=str.lower,
        choices=[*WRITABLE],
        help=f"format of the stems (default: that of the template's suffix, or {DEFAULT_FORMAT})",
    )
    depths.add_argument(
        "--bits", choices=BITS, help=f"bits per sample of {_having('bits')} (default: {BITS[0]})"
    )
    group.add_argument(
        "--bitrate",
        "--mp3-bitrate",
        type=int,
        metavar="KBIT",
        help=f"bitrate of {_having('bitrates')} in kbit/s (default: the highest)",
    )
    group.add_argument(
        "--clip",
        "--clip-mode",
        choices=["rescale", "clamp", "none"],
        default="rescale",
        help="what to do with samples beyond full scale: turn all stems of the song down by the same gain, "
        "cut the peaks off, or leave them to the format (default: rescale)",
    )
    add_existing(group)
    group.add_argument(
        "--strict", action="store_true", help="fail on a file that ends before it should, not just warn"
    )
    group.add_argument("--json", action="store_true", help="print the result as JSON")
    group.add_argument("-q", "--quiet", action="store_true", help="print nothing but errors")
    # By habit: errors say what is wrong without it.
    group.add_argument("-v", "--verbose", action="store_true", help=argparse.SUPPRESS)
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
    return ", ".join(codec.name.upper() for codec in WRITABLE.values() if getattr(codec, choice))


def _path(text: str) -> Path:
    """Path that is not empty: `Path` would turn an empty name into the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name of the file is empty")
    try:
        check_not_url(text)
    except AudioError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return Path(text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _link(text: str) -> tuple[str, str]:
    """Stem and model of MODEL:STEM; a path on Windows and an address on the hub have colons too."""
    model, _, stem = text.rpartition(":")
    if not model or not stem or "/" in stem or "\\" in stem:
        raise argparse.ArgumentTypeError(f"{text!r} is not MODEL:STEM, such as drumsep:drums")
    return stem, model


def _links(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    links = dict(pairs)
    if len(links) < len(pairs):
        twice = next(stem for stem, _ in pairs if sum(stem == other for other, _ in pairs) > 1)
        raise OptionError(f"--then separates {twice} twice; name a part of it for the second model")
    return links


def run(args: argparse.Namespace) -> int:
    """Run `hdemucs separate`."""
    tracks = find_tracks(args.inputs, args.out)
    from hdemucs.separator import Separator
    from hdemucs.stems import Format

    format = Format(
        args.format or template_format(args.filename) or DEFAULT_FORMAT, args.bits, args.bitrate, args.clip
    )
    separator = Separator(
        DEFAULT_MODEL if args.model is None else args.model,
        stems=args.stems,
        two_stems=args.two_stems,
        then=_links(args.then),
        jobs=args.jobs,
        **computation(args),
    )
    with pipe_folder() as pipes:
        if args.out == PIPE:
            check_stdout(tracks, separator.stems, args.json)
        tracks = take_stdin(tracks, pipes)
        out = (pipes if args.out == PIPE else args.out) / separator.name
        outcomes = [
            _reworded(outcome, pipes) for outcome in _separate(separator, tracks, out, format, args, pipes)
        ]
        if args.out == PIPE:
            for file in outcomes[0].stems.values():
                give_stdout(file)
    failed = any(outcome.status == "failed" for outcome in outcomes)
    if args.json:
        rows = [outcome.as_json() for outcome in outcomes]
        head = {"model": separator.name, "precision": separator.precision}
        print(json.dumps({**head, "tracks": rows}, indent=2))
    elif args.out != PIPE and not args.quiet:
        _print_outcomes(outcomes, separator.precision)
        done = any(outcome.status == "written" for outcome in outcomes)
        if done and args.model is None and terminal_width(sys.stderr) and first_time("better-model"):
            note(advice(DEFAULT_MODEL))
    return int(failed)


def _separate(
    separator: Separator,
    tracks: Sequence[Track],
    out: Path,
    format: Format,
    args: argparse.Namespace,
    pipes: Path,
) -> list[TrackOutcome]:
    """Separate all tracks under one progress bar; failures are reported as they happen."""
    from hdemucs.batch import TrackFinished, TrackProgress, separate_tracks

    with progress_bar(args.quiet) as bar:
        task = bar.add_task("")

        def show(event: BatchEvent) -> None:
            bar.update(
                task,
                description=printable(event.track.name),
                completed=event.done,
                total=event.total,
                refresh=not isinstance(event, TrackProgress),
            )
            if isinstance(event, TrackFinished):
                if event.outcome.error is not None:
                    complain(str(_reworded(event.outcome, pipes).error))
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


def _reworded(outcome: TrackOutcome, pipes: Path) -> TrackOutcome:
    """Word an outcome as the user has typed the command: with its flags, and `-` for a pipe."""
    track, error = outcome.track, outcome.error
    if track.path.parent == pipes:
        track = replace(track, path=PIPE)
    if error is not None:
        error = in_flags(error)
        if str(pipes) in str(error):
            error = type(error)(str(error).replace(str(pipes / PIPED_NAME), PIPED_NAME))
    return replace(outcome, track=track, error=error)


def _print_outcomes(outcomes: Sequence[TrackOutcome], precision: str) -> None:
    """Print each track with its files, one line a file; failed ones have been reported, and are counted."""
    width = terminal_width(sys.stdout)
    for outcome in outcomes:
        if outcome.status != "failed":
            print(wrapped(f"{printable(str(outcome.track.path))}: {_result(outcome, precision)}", width))
            _print_files([*outcome.stems.values()], width)
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if failed and len(outcomes) > 1:
        note(f"{failed} of {len(outcomes)} tracks failed")


def _print_files(paths: Sequence[Path], width: int | None) -> None:
    """Print paths, one a line; as names below their folder if the terminal is too narrow for that."""
    lines = [f"  {printable(str(path))}" for path in paths]
    folders = {path.parent for path in paths}
    if width is not None and len(folders) == 1 and max(map(columns, lines)) > width:
        print(wrapped(f"  {printable(str(folders.pop()))}/", width, indent=2))
        lines = [f"    {printable(path.name)}" for path in paths]
    for line in lines:
        print(wrapped(line, width, indent=4))


def _result(outcome: TrackOutcome, precision: str) -> str:
    seconds = "" if outcome.seconds is None else f" {outcome.seconds:.1f} s"
    down = f"{-20 * math.log10(outcome.gain or 1.0):.1f}"
    turned_down = "" if float(down) == 0 else f", turned down {down} dB"
    computed = f", computed in {precision}" if outcome.status == "written" else ""
    return f"{outcome.status}{seconds}{computed}{turned_down}"
