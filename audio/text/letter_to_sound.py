"""Pronounce a word that no dictionary holds, from its letters.

A joint n-gram model over (letter, phones) units with interpolated Kneser-Ney smoothing and beam search: Bisani and Ney,
"Joint-sequence models for grapheme-to-phoneme conversion" (2008), with one letter per unit. The counts are learned from
the shipped dictionary by `train_letter_to_sound.py`.
"""

import lzma
import math
from bisect import bisect_left
from functools import lru_cache
from importlib.resources import files

from .letters import spell
from .lexicon import Pronunciation

Unit = tuple[str, Pronunciation]
BEGIN, END = "<", ">"
FIRST_CODE = 0x100  # units are characters from here on, above the digits of the counts
DISCOUNT = 0.8
BEAM = 20
LONGEST = 24  # letters; longer strings are cut


class JointModel:
    """Counts of unit n-grams, and the search for the best phones of a word.

    Parameters
    ----------
    units : list of (str, tuple of str)
        The units; number i is written as the character `chr(FIRST_CODE + i)`.
    tables : list of list of str
        `tables[n - 1]` holds the n-grams and their Kneser-Ney counts as sorted strings, n characters and a number.
    """

    def __init__(self, units: list[Unit], tables: list[list[str]]):
        self._tables = tables
        self._units = {chr(FIRST_CODE + i): unit for i, unit in enumerate(units)}
        self._codes: dict[str, list[str]] = {}
        for code, (letter, _) in self._units.items():
            self._codes.setdefault(letter, []).append(code)
        self._primary = {
            code: sum(phone.endswith("1") for phone in phones) for code, (_, phones) in self._units.items()
        }
        self._known: dict[str, float] = {}
        self._contexts: dict[str, tuple[dict[str, int], int]] = {}

    def pronounce(self, word: str) -> Pronunciation:
        """Return the most probable phones with exactly one primary stress, or with none if the word has no vowel.

        Parameters
        ----------
        word : str
            Letters a to z; other characters are skipped.
        """
        beam = [(0.0, BEGIN, 0)]
        for letter in word:
            if letter in self._codes:
                beam = self._extend(beam, letter)
        finished = [(score + self._log_p(history, END), stresses, history) for score, history, stresses in beam]
        stressed = [item for item in finished if item[1] == 1] or finished
        return with_stress(tuple(phone for code in max(stressed)[2][1:] for phone in self._units[code][1]))

    def _extend(self, beam: list[tuple[float, str, int]], letter: str) -> list[tuple[float, str, int]]:
        """Append each unit of a letter to each hypothesis; keep the best of those that share their future."""
        memory = len(self._tables) - 1
        candidates = sorted(
            (
                (score + self._log_p(history, code), history + code, stresses + self._primary[code])
                for score, history, stresses in beam
                for code in self._codes[letter]
                if stresses + self._primary[code] < 2
            ),
            reverse=True,
        )
        best: dict[tuple[str, int], tuple[float, str, int]] = {}
        for candidate in candidates:
            best.setdefault((candidate[1][-memory:], candidate[2]), candidate)
            if len(best) == BEAM:
                break
        return list(best.values())

    def _log_p(self, history: str, code: str) -> float:
        """log P(code | history), interpolated over all orders from the empty context up."""
        history = history[-(len(self._tables) - 1) :]
        if history + code not in self._known:
            p = 1.0 / (len(self._units) + 1)
            for n in range(len(history) + 1):
                counts, total = self._context(history[len(history) - n :])
                if total:
                    p = (max(counts.get(code, 0) - DISCOUNT, 0.0) + DISCOUNT * len(counts) * p) / total
            self._known[history + code] = math.log(p)
        return self._known[history + code]

    def _context(self, history: str) -> tuple[dict[str, int], int]:
        if history not in self._contexts:
            table, n = self._tables[len(history)], len(history)
            rows = table[bisect_left(table, history) : bisect_left(table, history + "\uffff")]
            counts = {row[n]: int(row[n + 1 :]) for row in rows}
            self._contexts[history] = counts, sum(counts.values())
        return self._contexts[history]


def pack(units: list[Unit], tables: list[list[str]]) -> bytes:
    """Write a model as xz-compressed text: a line of units, then one line per order.

    Parameters
    ----------
    units, tables
        As for `JointModel`.
    """
    names = "\t".join(" ".join([letter, *phones]) for letter, phones in units)
    lines = [names, *("\t".join(table) for table in tables)]
    return lzma.compress("\n".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME)


def unpack(packed: bytes) -> JointModel:
    """Read what `pack` wrote."""
    names, *tables = lzma.decompress(packed).decode().split("\n")
    units = [(name.split(" ")[0], tuple(name.split(" ")[1:])) for name in names.split("\t")]
    return JointModel(units, [table.split("\t") for table in tables])


@lru_cache(maxsize=1)
def default_model() -> JointModel:
    """Return the shipped model, read at the first call."""
    return unpack(files(__package__).joinpath("data/letter_to_sound.xz").read_bytes())


@lru_cache(maxsize=4096)
def with_stress(phones: Pronunciation) -> Pronunciation:
    """The same phones; if no vowel has primary stress, the first one gets it."""
    vowels = [i for i, phone in enumerate(phones) if phone[-1] in "012"]
    if not vowels or any(phones[i].endswith("1") for i in vowels):
        return phones
    first = vowels[0]
    return (*phones[:first], phones[first][:-1] + "1", *phones[first + 1 :])


def letter_to_sound(word: str) -> Pronunciation:
    """Return phones for any word of letters.

    Parameters
    ----------
    word : str
        Lower-case letters a to z; other characters are skipped. A word without a vowel letter is spelled out.

    Returns
    -------
    tuple of str
        Phones, each vowel with one stress digit and exactly one of them primary per 24 letters; empty if the word has
        no letter.
    """
    if not any(letter in "aeiouy" for letter in word):
        return spell(word)
    pieces = [word[i : i + LONGEST] for i in range(0, len(word), LONGEST)]
    return tuple(phone for piece in pieces for phone in default_model().pronounce(piece))
