"""The token alphabet of the speech models: CMU ARPAbet phones with stress, word spaces and punctuation.

A sentence is one flat list of tokens, for example "Hi, Tom." is ^ HH AY1 , T AA1 M .
Words are separated by exactly one separator token: a space, or the punctuation mark that stands there.
Separators own the silence at their place, which is often zero frames long.
"""

PAD = "_"  # index 0: padding of a batch
START = "^"  # owns the silence before the first word
SPACE = " "
PUNCTUATION = (",", ".", "?", "!", ";", ":", "-")

VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
# fmt: off
CONSONANTS = (
    "B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T", "TH", "V", "W",
    "Y", "Z", "ZH",
)
# fmt: on
PHONES = tuple(v + stress for v in VOWELS for stress in "012") + CONSONANTS

SEPARATORS = (START, SPACE, *PUNCTUATION)
SYMBOLS = (PAD, *SEPARATORS, *PHONES)
INDEX = {symbol: i for i, symbol in enumerate(SYMBOLS)}
