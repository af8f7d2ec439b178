"""Align the letters of words with their phones: each letter takes none, one or two phones.

Expectation-maximisation over monotone alignments, as in Black, Lenzo and Pagel, "Issues in building general letter to
sound rules" (1998), section 2: expected counts by forward-backward on a sample, then one best path per word.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

from .lexicon import Pronunciation

Chunk = tuple[str, Pronunciation]  # a letter and its phones
MOST_PHONES = 2
FLOOR = 1e-9


def learn_alignment(words: Sequence[Chunk], *, iterations: int = 6) -> dict[Chunk, float]:
    """Estimate P(phones of a letter | letter) from words with their phones.

    Parameters
    ----------
    words : sequence of (str, tuple of str)
        Words and pronunciations; stress digits should be taken off first.
    iterations : int
        Rounds of expectation-maximisation.

    Returns
    -------
    dict
        Probability of each (letter, phones) chunk.
    """
    probability: dict[Chunk, float] = {}
    for _ in range(iterations):
        counts: dict[Chunk, float] = defaultdict(float)
        for word, phones in words:
            _add_expected_counts(word, phones, probability, counts)
        total: dict[str, float] = defaultdict(float)
        for (letter, _), count in counts.items():
            total[letter] += count
        probability = {chunk: count / total[chunk[0]] for chunk, count in counts.items()}
    return probability


def best_alignment(word: str, phones: Pronunciation, probability: dict[Chunk, float]) -> list[Pronunciation] | None:
    """Return the phones of each letter on the most probable path.

    Parameters
    ----------
    word, phones : str and tuple of str
        What to align. Stress digits of the phones are ignored in the look-up and kept in the result.
    probability : dict
        From `learn_alignment`.

    Returns
    -------
    list of tuple of str, or None
        One entry per letter; None when there are more than two phones per letter.
    """
    plain = tuple(phone.rstrip("012") for phone in phones)
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for letter in word:
        reached: dict[int, tuple[float, int]] = {}
        for j, (score, _) in best[-1].items():
            for k in range(min(MOST_PHONES, len(plain) - j) + 1):
                new = score + math.log(max(probability.get((letter, plain[j : j + k]), 0.0), FLOOR))
                if j + k not in reached or new > reached[j + k][0]:
                    reached[j + k] = (new, k)
        best.append(reached)
    if len(plain) not in best[-1]:
        return None
    result, j = [], len(plain)
    for reached in reversed(best[1:]):
        k = reached[j][1]
        result.append(phones[j - k : j])
        j -= k
    return result[::-1]


def _add_expected_counts(
    word: str, phones: Pronunciation, probability: dict[Chunk, float], counts: dict[Chunk, float]
) -> None:
    n, m = len(word), len(phones)
    unseen = 0.0 if probability else 1.0  # the first round starts from equal chances
    edges = [
        (i, j, k, (word[i], phones[j : j + k]), probability.get((word[i], phones[j : j + k]), unseen))
        for i in range(n)
        for j in range(max(0, m - MOST_PHONES * (n - i)), min(m, MOST_PHONES * i) + 1)
        for k in range(min(MOST_PHONES, m - j) + 1)
    ]
    forward = defaultdict(float, {(0, 0): 1.0})
    for i, j, k, _, p in edges:
        forward[i + 1, j + k] += forward[i, j] * p
    backward = defaultdict(float, {(n, m): 1.0})
    for i, j, k, _, p in reversed(edges):
        backward[i, j] += p * backward[i + 1, j + k]
    if forward[n, m] > 0:
        for i, j, k, chunk, p in edges:
            counts[chunk] += forward[i, j] * p * backward[i + 1, j + k] / forward[n, m]
