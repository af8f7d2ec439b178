"""Captions of procedural shapes: adjectives, the class word, and clauses such as "with four white legs"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Clause:
    """A part and what is true of it.

    Parameters
    ----------
    noun
        The part.
    words
        Adjectives before it.
    telling
        Whether naming the part alone says something.
    """

    noun: str
    words: tuple[str, ...] = ()
    telling: bool = False


def sentence(
    kind: str, adjectives: Sequence[str], clauses: Sequence[Clause], generator: np.random.Generator | None
) -> str:
    """A caption; with a generator, of some of what is true.

    Parameters
    ----------
    kind
        Class word.
    adjectives, clauses
        What is true.
    generator
        None tells all.

    Returns
    -------
    str
    """
    if generator is not None:
        adjectives, clauses = _some(adjectives, clauses, generator)
    ended = [_clause(clause) for clause in clauses]
    first = " ".join((*adjectives, kind))
    start = f"{'an' if first[0] in 'aeiou' else 'a'} {first}"
    if not ended:
        return start
    return f"{start} with {', '.join(ended[:-1])}{' and ' if len(ended) > 1 else ''}{ended[-1]}"


def _some(
    adjectives: Sequence[str], clauses: Sequence[Clause], generator: np.random.Generator
) -> tuple[list[str], list[Clause]]:
    if generator.random() < 0.08:
        return [], []
    kept = [word for word in adjectives if generator.random() < 0.75]
    if generator.random() < 0.2:
        kept = [kept[i] for i in generator.permutation(len(kept))]
    told = []
    for clause in clauses:
        words = tuple(word for word in clause.words if generator.random() < 0.75)
        if generator.random() < 0.65 and (words or clause.telling):
            told.append(Clause(clause.noun, words, clause.telling))
    return kept, told


def _clause(clause: Clause) -> str:
    words = " ".join((*clause.words, clause.noun))
    many = clause.noun.endswith("s") or clause.words[:1] == ("one",)
    return words if many else f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
