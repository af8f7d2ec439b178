"""Recipe of the shipped lexicon: `python -m fewstep.audio.text.build_lexicon cmudict.dict OUT.xz`.

The input is the file `cmudict.dict` of the CMU Pronouncing Dictionary (https://github.com/cmusphinx/cmudict).
Kept: words of letters and apostrophes, with all their pronunciations in the dictionary's order.
Written: one line per word, tab-separated, `word<TAB>phones[<TAB>phones]...`, compressed with xz.
"""

import lzma
import re
import sys
from collections.abc import Iterable
from pathlib import Path

WORD = re.compile(r"[a-z']*[a-z][a-z']*")


def lexicon_lines(dictionary: Iterable[str]) -> list[str]:
    """Merge the variants of each word of `cmudict.dict` into one line of the shipped format.

    Parameters
    ----------
    dictionary : iterable of str
        Lines such as `tomato(2) T AH0 M AA1 T OW2 # comment`.

    Returns
    -------
    list of str
        Lines such as `tomato<TAB>T AH0 M EY1 T OW2<TAB>T AH0 M AA1 T OW2`, in the order of the input.
    """
    variants: dict[str, list[str]] = {}
    for line in dictionary:
        fields = line.split("#")[0].split()
        if not fields:
            continue
        word = re.sub(r"\(\d+\)$", "", fields[0])
        phones = " ".join(fields[1:])
        if WORD.fullmatch(word) and phones not in variants.setdefault(word, []):
            variants[word].append(phones)
    return ["\t".join([word, *phones]) for word, phones in variants.items() if phones]


def main() -> None:
    """Read the dictionary named by the first argument and write the lexicon named by the second."""
    source, target = map(Path, sys.argv[1:])
    lines = lexicon_lines(source.read_text(encoding="utf-8").splitlines())
    target.write_bytes(lzma.compress("\n".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{target}: {len(lines)} words, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
