"""The command `hdemucs`: parses, calls, prints. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hdemucs import __version__
from hdemucs.errors import HDemucsError, OptionError
from hdemucs.tracks import DEFAULT_TEMPLATE, Track, find_tracks, plan

if TYPE_CHECKING:
    from hdemucs.apply import Progress
    from hdemucs.separator import Format, Separator, Written

COMMANDS = ("separate", "models")

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


class Parser(argparse.ArgumentParser):
    """Complains in one line, as everything here does."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


class Hint(argparse.Action):
    """An option of demucs that has no counterpart, answered with what to do instead."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None
    ) -> NoReturn:
        parser.error(f"there is no {option}: {HINTS[str(option)]}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 if something failed, 2 for wrong options."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = build_parser()
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        parser.error(f"no command {argv[0]!r}: to separate a song, run `hdemucs separate {argv[0]}`")
    args = parser.parse_args(argv)
    # As with Ctrl-C, what is being written must be cleaned up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        status: int = args.run(args)
    except HDemucsError as error:
        complain(error)
        return 2 if isinstance(error, OptionError) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has read enough.
        sys.stderr.close()
        return 1
    return status


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(prog="hdemucs", description="Music source separation with Hybrid Demucs.")
    parser.add_argument("--version", action="version", version=f"hdemucs {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_separate(commands)
    _add_models(commands)
    return parser


def _add_separate(commands: Any) -> None:
    parser = commands.add_parser(
        "separate",
        help="separate songs into stems",
        description="Separate songs into stems: OUT/MODEL/TRACK/STEM.EXT.",
    )
    parser.set_defaults(run=run_separate)
    add = parser.add_argument
    add("inputs", nargs="+", type=Path, metavar="INPUT", help="audio or video files, or folders of them")
    model = parser.add_argument_group("model")
    model.add_argument(
        "-n",
        "--model",
        "--name",
        metavar="MODEL",
        help="a name of `hdemucs models`, a file, or hf://user/repo",
    )
    model.add_argument("--stems", metavar="A,B", help="only these stems, as in --stems vocals,drums")
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
    output.add_argument(
        "--format", choices=["wav", "flac", "mp3", "ogg"], default="wav", help="(default: wav)"
    )
    output.add_argument("--bits", choices=["16", "24", "32f"], help="of WAV and FLAC (default: 16)")
    output.add_argument(
        "--bitrate", "--mp3-bitrate", type=int, metavar="KBIT", help="of MP3, in kbit/s (default: 320)"
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
    compute.add_argument("-d", "--device", help="cpu, cuda, cuda:1, mps (default: cuda if there is one)")
    compute.add_argument(
        "--segment", type=float, metavar="S", help="seconds at a time (default: the model's)"
    )
    compute.add_argument("--overlap", type=float, default=0.25, help="of segments (default: 0.25)")
    compute.add_argument("--shifts", type=int, default=1, help="averaged passes: slower, better (default: 1)")
    compute.add_argument("--batch-size", type=int, default=1, metavar="N", help="segments at once on a GPU")
    compute.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="segments at once on a CPU")

    for flag, name, value in (
        ("--mp3", "format", "mp3"),
        ("--flac", "format", "flac"),
        ("--int24", "bits", "24"),
        ("--float32", "bits", "32f"),
    ):
        add(flag, dest=name, action="store_const", const=value, help=argparse.SUPPRESS)
    for flag in HINTS:
        add(flag, action=Hint, nargs="?", help=argparse.SUPPRESS)


def _add_models(commands: Any) -> None:
    parser = commands.add_parser(
        "models", help="list models, or download one", description="List the registered models."
    )
    parser.set_defaults(run=run_models)
    parser.add_argument("--json", action="store_true", help="print everything that is known of them as JSON")
    actions = parser.add_subparsers(metavar="")
    download = actions.add_parser("download", help="fetch models ahead of use")
    download.add_argument("names", nargs="+", metavar="NAME", help="as `hdemucs models` lists them")
    download.set_defaults(run=run_download)


def run_separate(args: argparse.Namespace) -> int:
    """`hdemucs separate`: all tracks, whatever happens to one of them."""
    tracks = find_tracks(args.inputs)
    from hdemucs.separator import DEFAULT_MODEL, Format, Separator

    format = Format(args.format, args.bits, args.bitrate, args.clip)
    separator = Separator(
        args.model or DEFAULT_MODEL,
        stems=[name.strip() for name in args.stems.split(",")] if args.stems is not None else None,
        two_stems=args.two_stems,
        **{
            name: getattr(args, name)
            for name in ("segment", "overlap", "shifts", "batch_size", "jobs", "device")
        },
    )
    name = getattr(separator.model, "name", "model")
    targets = plan(tracks, args.out / name, args.filename, separator.stems, format.format)
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
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        lengths = [_length(track) for track in tracks]
        results = []
        with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=sum(lengths))
            for index, (track, paths) in enumerate(zip(tracks, targets, strict=True)):
                before = sum(lengths[:index])
                bar.update(task, description=track.name, completed=before)

                def advance(event: Progress, before: float = before, length: float = lengths[index]) -> None:
                    bar.update(task, completed=before + length * event.done / (event.total or event.done))

                results.append(self.one(track, paths, advance))
        return results

    def one(self, track: Track, paths: dict[str, Path], progress: Any) -> dict[str, Any]:
        result: dict[str, Any] = {"track": str(track.path)}
        existing = [path for path in paths.values() if path.exists()]
        if self.args.skip_existing and len(existing) == len(paths):
            return {**result, "status": "skipped", "stems": _strings(paths)}
        try:
            if existing and not (self.args.overwrite or self.args.skip_existing):
                raise OptionError(f"{existing[0]} exists; choose --overwrite or --skip-existing")
            written: Written = self.separator.separate_file(track.path, paths, self.format, progress=progress)
        except HDemucsError as error:
            complain(error)
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
    return (source.frames or 0) / source.sample_rate


def _strings(paths: dict[str, Path]) -> dict[str, str]:
    return {stem: str(path) for stem, path in paths.items()}


def print_results(results: Sequence[dict[str, Any]], model: str, *, as_json: bool) -> None:
    """What was written, as a table or as JSON."""
    if as_json:
        print(json.dumps({"model": model, "tracks": results}, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("track", "result", "files"):
        table.add_column(column, overflow="fold")
    for result in results:
        seconds = f"{result['seconds']:.1f} s" if "seconds" in result else ""
        gain = result.get("gain", 1.0)
        turned = f", all turned down to {gain:.3f} so as not to clip" if gain != 1.0 else ""
        table.add_row(
            _plain(result["track"]),
            _plain(f"{result['status']} {seconds}{turned}".strip()),
            _plain("\n".join(result.get("stems", {}).values())),
        )
    Console().print(table)
    print(f"separated with the model {model}; `hdemucs models` lists others", file=sys.stderr)


def _plain(text: str) -> Any:
    """Text that rich prints as it is, square brackets included."""
    from rich.text import Text

    return Text(text)


def run_models(args: argparse.Namespace) -> int:
    """`hdemucs models`: the registry."""
    import dataclasses

    from hdemucs.pretrained import cards, is_downloaded

    if args.json:
        rows = [{**dataclasses.asdict(card), "downloaded": is_downloaded(card)} for card in cards()]
        print(json.dumps(rows, indent=2))
        return 0
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("model", "SDR", "here", "what it is"):
        table.add_column(column, overflow="fold")
    for card in cards():
        scores = [score.overall for score in card.published if score.data == "MusDB-HQ test set"]
        sdr = f"{scores[0]:.2f}" if scores and scores[0] is not None else ""
        table.add_row(card.name, sdr, "yes" if is_downloaded(card) else "no", _plain(card.summary))
    Console().print(table)
    print(
        "SDR: published, MusDB-HQ test set, dB; --json says where, and under which licence", file=sys.stderr
    )
    return 0


def run_download(args: argparse.Namespace) -> int:
    """`hdemucs models download`: files into the cache."""
    from hdemucs.pretrained import download, get_card

    wanted = [get_card(name) for name in args.names]
    for card in wanted:
        for path in download(card):
            print(path)
    return 0


def complain(error: HDemucsError) -> None:
    """One line on stderr."""
    print(f"hdemucs: {' '.join(str(error).split())}", file=sys.stderr)
