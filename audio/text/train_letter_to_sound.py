"""Recipe of the letter-to-sound model: `python -m fewstep.audio.text.train_letter_to_sound OUT.xz` (one minute).

It aligns the shipped dictionary, counts unit n-grams on 19 of 20 words, and prints the accuracy on the twentieth, which
stays out of the shipped model: words are held out by the CRC-32 of their spelling.
"""

import math
import sys
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .align_letters import Chunk, best_alignment, learn_alignment
from .letter_to_sound import BEGIN, END, FIRST_CODE, JointModel, Unit, pack, unpack
from .lexicon import Lexicon, Pronunciation, default_lexicon, dictionary_words

ORDER = 5
SAMPLE = 10  # every tenth word teaches the alignment
RAREST_UNIT = 3
WORST_ALIGNMENT = -4.0  # mean log-probability per letter; below are abbreviations such as "kgb"


def is_held_out(word: str) -> bool:
    """Say whether a word is in the evaluation set: one word of twenty, for ever the same."""
    return zlib.crc32(word.encode()) % 20 == 0


def aligned_words(lexicon: Lexicon) -> dict[str, list[Pronunciation]]:
    """Align every dictionary word of two or more plain letters with its default pronunciation."""
    words = {w: lexicon.pronunciations(w)[0] for w in dictionary_words() if w.isalpha() and len(w) > 1}
    sample = [(word, without_stress(phones)) for word, phones in list(words.items())[::SAMPLE]]
    probability = learn_alignment(sample)
    aligned = {}
    for word, phones in words.items():
        chunks = best_alignment(word, phones, probability)
        if chunks and _mean_log_probability(word, chunks, probability) > WORST_ALIGNMENT:
            aligned[word] = chunks
    return aligned


def count_tables(sequences: Iterable[str], order: int) -> list[list[str]]:
    """Count n-grams of coded words as Kneser-Ney smoothing wants them.

    The highest order, and n-grams at the beginning of a word, keep their frequency; the others count the different
    units that stand before them.

    Parameters
    ----------
    sequences : iterable of str
        Words with one character per unit.
    order : int
        Length of the longest n-gram.

    Returns
    -------
    list of list of str
        As in `JointModel`.
    """
    raw: list[Counter[str]] = [Counter() for _ in range(order + 1)]
    for sequence in sequences:
        sequence = BEGIN + sequence + END
        for end in range(2, len(sequence) + 1):
            for n in range(1, min(order, end) + 1):
                raw[n][sequence[end - n : end]] += 1
    for n in range(1, order):
        continuations = Counter(gram[1:] for gram in raw[n + 1])
        raw[n] = Counter({gram: count if gram[0] == BEGIN else continuations[gram] for gram, count in raw[n].items()})
    return [sorted(f"{gram}{count}" for gram, count in counts.items()) for counts in raw[1:]]


def train(aligned: dict[str, list[Pronunciation]], *, order: int = ORDER) -> tuple[list[Unit], list[list[str]]]:
    """Build the units and tables of a model from aligned words that are not held out."""
    training = {word: chunks for word, chunks in aligned.items() if not is_held_out(word)}
    seen = Counter(unit for word, chunks in training.items() for unit in zip(word, chunks, strict=True))
    units = sorted(unit for unit, count in seen.items() if count >= RAREST_UNIT)
    code = {unit: chr(FIRST_CODE + i) for i, unit in enumerate(units)}
    coded = ([code.get(unit, "") for unit in zip(word, chunks, strict=True)] for word, chunks in training.items())
    return units, count_tables(("".join(codes) for codes in coded if all(codes)), order)


def evaluate(model: JointModel, words: Iterable[str], lexicon: Lexicon) -> dict[str, float]:
    """Measure a model on words: exact words and right phones, with and without stress, in percent.

    A word is compared with the closest of its dictionary variants; phones are scored by edit distance.
    """
    exact = exact_plain = errors = errors_plain = phones = n = 0
    for word in words:
        guess, known = model.pronounce(word), lexicon.pronunciations(word)
        plain, known_plain = without_stress(guess), [without_stress(variant) for variant in known]
        n += 1
        exact += guess in known
        exact_plain += plain in known_plain
        errors += min(edit_distance(guess, variant) for variant in known)
        errors_plain += min(edit_distance(plain, variant) for variant in known_plain)
        phones += len(known[0])
    return {
        "words": 100 * exact_plain / n,
        "words with stress": 100 * exact / n,
        "phones": 100 - 100 * errors_plain / phones,
        "phones with stress": 100 - 100 * errors / phones,
    }


def edit_distance(first: Pronunciation, second: Pronunciation) -> int:
    """Count the insertions, deletions and substitutions between two pronunciations (Levenshtein)."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def without_stress(phones: Pronunciation) -> Pronunciation:
    """Take the stress digits off."""
    return tuple(phone.rstrip("012") for phone in phones)


def _mean_log_probability(word: str, chunks: list[Pronunciation], probability: dict[Chunk, float]) -> float:
    p = [probability.get((letter, without_stress(phones)), 0.0) for letter, phones in zip(word, chunks, strict=True)]
    return sum(math.log(x + 1e-9) for x in p) / len(p)


def main() -> None:
    """Train on the shipped dictionary, write the model named by the first argument, and print its accuracy."""
    lexicon = default_lexicon()
    aligned = aligned_words(lexicon)
    packed = pack(*train(aligned))
    Path(sys.argv[1]).write_bytes(packed)
    held_out = [word for word in aligned if is_held_out(word)]
    scores = evaluate(unpack(packed), held_out, lexicon)
    print(f"{len(packed)} bytes; {len(held_out)} held-out words:", {k: round(v, 2) for k, v in scores.items()})


if __name__ == "__main__":
    main()
