"""Entry point of the command `hdemucs`, also as `python -m hdemucs`."""

import gc
import sys


def process() -> None:
    """Run the command and end the process with its exit status.

    Garbage collection is made rare: importing torch creates a million objects that live as long as the
    process, and scanning them again and again, and once more at exit, takes longer than separating a few
    seconds of music. Audio is freed by reference counting all the same.
    """
    gc.set_threshold(100_000, 50, 100)
    try:
        # Imported here, so that Ctrl-C ends in one line from the start.
        from hdemucs.cli import main

        status = main()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            print("hdemucs: interrupted", file=sys.stderr)
        status = 130
    gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    process()
