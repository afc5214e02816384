"""Names that somebody typed, and what they may have meant."""

import difflib
from collections.abc import Iterable


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` most likely stands for; dotted names are compared by their last part too."""

    def likeness(candidate: str) -> tuple[float, float]:
        ours, theirs = word.lower(), candidate.lower()
        whole = difflib.SequenceMatcher(None, ours, theirs).ratio()
        last = difflib.SequenceMatcher(None, ours.rpartition(".")[2], theirs.rpartition(".")[2]).ratio()
        return max(whole, last), whole

    best = max(candidates, key=likeness, default=None)
    return best if best is not None and likeness(best)[0] >= 0.6 else None


def hint(word: str, candidates: Iterable[str]) -> str:
    """`; did you mean ...?` where a candidate is near, else nothing."""
    found = nearest(word, candidates)
    return f"; did you mean {found}?" if found else ""
