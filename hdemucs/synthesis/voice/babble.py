"""Nonsense phrases for speech synthesisers: the syllables of a language without its meaning."""

# ruff: noqa: RUF001 (the phonetic alphabet has letters that look like others)

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Inventory:
    """Building blocks of a language's syllables, in strings separated by spaces.

    Attributes:
        onsets: Consonants that begin a syllable.
        vowels: Nuclei of syllables.
        codas: Consonants that end a syllable.
        closed: Share of syllables that have a coda.
    """

    onsets: str
    vowels: str
    codas: str
    closed: float


PHONEMES = {
    "en": Inventory(
        "b d f ɡ h j k l m n p ɹ s t v w z ʃ ʧ ʤ θ ð st tɹ bɹ kl sl fl ɡɹ sw",
        "ɑː iː uː ɔː ɛ æ ʌ A I O W ɜː ɪ ʊ",
        "n t d l m s z k ŋ v nd st ɹ",
        0.45,
    ),
    "it": Inventory(
        "b d f ɡ k l m n p r s t v ʧ ʤ ʎ ɲ tr pr st sp kw",
        "a e i o u ɛ ɔ aː eː iː oː",
        "n r l s",
        0.15,
    ),
    "ja": Inventory(
        "k s t n h m j ɾ w ɡ z d b p ɕ ʨ ʥ kj ɾj",
        "a i ɯ e o aː iː oː eː",
        "ɴ",
        0.12,
    ),
    "de": Inventory(
        "b d f ɡ h j k l m n p ʁ s t v z ʃ ʃt ʃp ts fl kl bʁ tʁ",
        "aː eː iː oː uː yː øː a ɛ ɪ ɔ ʊ",
        "n t l m s ç x k ŋ nt",
        0.5,
    ),
    "fr": Inventory(
        "b d f ɡ k l m n p ʁ s t v z ʃ ʒ j w pl tʁ bʁ kʁ",
        "a e i o u y ø ɛ ɔ œ ɑ̃ ɔ̃ ɛ̃",
        "ʁ l s t n z ʒ k",
        0.2,
    ),
}
"""Inventories in the International Phonetic Alphabet, with Kokoro's single letters for English diphthongs."""

LETTERS = Inventory(
    "b d f g h k l m n p r s t v z j w sh ch tr st br fl kr sl",
    "a e i o u ai au ei",
    "n t l m s k r nd",
    0.35,
)
"""Inventory of spellings that are pronounceable in nearly any language written in Latin letters."""

STRESS = "ˈ"
"""Stress mark of the International Phonetic Alphabet, which precedes the syllable."""

PIPER = str.maketrans(
    {"A": "eɪ", "I": "aɪ", "O": "oʊ", "W": "aʊ", "ʧ": "tʃ", "ʤ": "dʒ", "ʨ": "tɕ", "ʥ": "dʑ"}
)
"""Translation of Kokoro's alphabet to Piper's, which spells diphthongs and affricates with two letters."""


def babble(inventory: Inventory, phrases: int, rng: np.random.Generator, stress: str = "") -> Iterator[str]:
    """Generate nonsense phrases of two to four words of one to three syllables.

    Args:
        inventory: Building blocks of the syllables.
        phrases: Number of phrases.
        rng: Random generator for every choice.
        stress: Mark to put in front of each word; empty for none.

    Yields:
        Phrases that end in a full stop.
    """
    onsets, vowels, codas = (group.split() for group in (inventory.onsets, inventory.vowels, inventory.codas))
    for _ in range(phrases):
        words = []
        for _ in range(int(rng.integers(2, 5))):
            word = stress
            for _ in range(int(rng.integers(1, 4))):
                coda = rng.choice(codas) if rng.uniform() < inventory.closed else ""
                word += rng.choice(onsets) + rng.choice(vowels) + coda
            words.append(word)
        yield " ".join(words) + "."
