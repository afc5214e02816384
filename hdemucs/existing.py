"""Stems that exist: one policy for everything that writes stems."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, get_args

from hdemucs.errors import OptionError, StemsExistError
from hdemucs.files import temporary_beside, write_error
from hdemucs.suggest import hint

Existing = Literal["error", "skip", "overwrite"]
"""Where stems exist: raise `StemsExistError`, write only those that are missing, or replace them."""


def existing_stems(paths: Mapping[str, Path]) -> list[str]:
    """Names of the stems whose files exist."""
    # Unlike Path.exists, this does not raise on a name that is too long.
    return [stem for stem, path in paths.items() if os.path.exists(path)]  # noqa: PTH110


@contextmanager
def writable_places(paths: Mapping[str, Path], existing: Existing) -> Iterator[dict[str, Path]]:
    """Yield where to write each stem.

    To skip a stem, it is written to a hidden folder, which is removed when the block ends: all stems of a
    song are turned down by one gain, so that those that were missing come out as if nothing had been skipped.

    Args:
        paths: File of each stem by name.
        existing: What to do with stems that exist.

    Raises:
        StemsExistError: A stem exists, and `existing` is `error`.
        OptionError: There is no such policy.
        OutputError: A hidden folder cannot be created beside the stems.
    """
    if existing not in get_args(Existing):
        choices = get_args(Existing)
        raise OptionError(
            f"existing={existing!r} does not exist; choose {', '.join(choices)}{hint(str(existing), choices)}"
        )
    found = existing_stems(paths)
    if found and existing == "error":
        raise StemsExistError(paths[found[0]])
    if not found or existing == "overwrite":
        yield dict(paths)
        return
    beside = paths[found[0]]
    with ExitStack() as cleanup:
        try:
            spare = cleanup.enter_context(temporary_beside(beside, folder=True))
        except OSError as error:
            raise write_error(beside, error) from error
        yield {stem: spare / stem if stem in found else path for stem, path in paths.items()}
