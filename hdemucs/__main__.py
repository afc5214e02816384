"""The process of the command `hdemucs`, also as `python -m hdemucs`."""

import gc
import sys

from hdemucs.cli import main


def process() -> None:
    """Run the command and end the process with its status.

    Garbage collection is made rare: importing torch makes a million objects that stay, and looking through
    them time and again, once more at the end, takes longer than separating some seconds of music. What holds
    audio is freed by reference counts.
    """
    gc.set_threshold(100_000, 50, 100)
    status = main()
    gc.freeze()
    sys.exit(status)


if __name__ == "__main__":
    process()
