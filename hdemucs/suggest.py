"""Suggestions for mistyped names: "did you mean ...?"."""

import difflib
from collections.abc import Iterable


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Candidate most similar to `word`, None if there is none; dotted names also match by their last part."""

    def similarity(candidate: str) -> tuple[float, float]:
        typed, known = word.lower(), candidate.lower()
        full = difflib.SequenceMatcher(None, typed, known).ratio()
        last = difflib.SequenceMatcher(None, typed.rpartition(".")[2], known.rpartition(".")[2]).ratio()
        return max(full, last), full

    best = max(candidates, key=similarity, default=None)
    return best if best is not None and similarity(best)[0] >= 0.6 else None


def hint(word: str, candidates: Iterable[str]) -> str:
    """End of an error message, `; did you mean CANDIDATE?`; empty if no candidate is similar to `word`."""
    found = nearest(word, candidates)
    return f"; did you mean {found}?" if found else ""
