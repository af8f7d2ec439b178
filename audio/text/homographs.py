"""Which dictionary variant a word takes beside its neighbours: homographs, weak forms, "the" and "to".

Each rule only reorders the variants that the dictionary lists, so an aligner may still overrule it. The cues are
the classical ones of Yarowsky, "Homograph disambiguation in text-to-speech synthesis" (1997): the words next door.
"""

from .lexicon import Pronunciation
from .symbols import SPACE, VOWELS
from .tables import word_set

VERB_CUES = word_set(
    "to will would can could should shall must may might not i you we they who do does did don't doesn't didn't",
    "can't won't wouldn't couldn't shouldn't i'll you'll we'll they'll he'll she'll let's please let",
)
NOUN_CUES = word_set(
    "a an the this that these those my your his her its our their no some any each every of in on for by with from",
    "at one two three another",
)
PAST_CUES = word_set(
    "have has had having i've we've you've they've he's she's was were is are be been being he she it who"
)

# The noun is stressed on its first syllable, the verb on its last; each is what the word is without a cue.
STRESSED_NOUNS = word_set(
    "record object subject project content conflict contract contrast desert digest import increase insult invalid",
    "permit perfect progress protest rebel research suspect transport compound console contest defect discount escort",
    "extract impact insert refund survey transfer conduct attribute minute present",
)
STRESSED_VERBS = word_set("produce refuse reject upset combine convert recall recount resume")
# The noun or adjective ends in AH T or S, the verb in EY T or Z.
ENDING_NOUNS = word_set("separate estimate graduate moderate advocate deliberate alternate abuse house")
ENDING_VERBS = word_set("use excuse")
WEAK_FORMS = {
    "was": "W AH0 Z",
    "than": "DH AH0 N",
    "an": "AH0 N",
    "can": "K AH0 N",
    "and": "AH0 N D",
    "into": "IH1 N T UW0",
    "is": "IH1 Z",
    "in": "IH0 N",
}
SPECIAL = {
    "read": ("R IY1 D", "R EH1 D"),
    "lead": ("L IY1 D", "L EH1 D"),
    "live": ("L IH1 V", "L AY1 V"),
    "lives": ("L IH1 V Z", "L AY1 V Z"),
    "wind": ("W IH1 N D", "W AY1 N D"),
    "tear": ("T EH1 R", "T IH1 R"),
    "tears": ("T IH1 R Z", "T EH1 R Z"),
    "close": ("K L OW1 S", "K L OW1 Z"),
    "wound": ("W UW1 N D", "W AW1 N D"),
    "bow": ("B AW1", "B OW1"),
    "dove": ("D AH1 V", "D OW1 V"),
    "bass": ("B EY1 S", "B AE1 S"),
    "polish": ("P AA1 L IH0 SH", "P OW1 L IH0 SH"),
    "buffet": ("B AH0 F EY1", "B AH1 F AH0 T"),
    "with": ("W IH1 DH", "W IH1 TH"),
    "our": ("AW1 ER0", "AA1 R"),
}
PARTICLES = word_set("it up down off apart them him her open out away the a his my")


def second_reading(word: str, before: str, after: str) -> bool:
    """Say whether the neighbours ask for the second entry of `SPECIAL`."""
    match word:
        case "read":
            return before in PAST_CUES
        case "lead":
            return before == "of" or after in {"pipe", "pipes", "paint", "pencil", "poisoning", "acid", "shot"}
        case "live":
            return before in {"a", "the"} or after in {"music", "show", "concert", "broadcast", "wire", "stream"}
        case "lives":
            return before in NOUN_CUES | {"save", "saved", "many", "human"} or after in {"of", "were", "are"}
        case "wind":
            return before == "to" and after in {"up", "down", "back", "through", "around", "the", "it"}
        case "tear":
            return before in NOUN_CUES and after not in PARTICLES
        case "tears":
            return before in {"he", "she", "it"} or after in {"it", "up", "apart", "them", "off"}
        case "close":
            return before in VERB_CUES or after in {"the", "your", "his", "her", "my", "it", "this", "that"}
        case "wound":
            return after in {"up", "around", "down", "through", "its", "round"}
        case "bow":
            return after in {"and", "tie", "string", "window", "legged"}
        case "dove":
            return before in {"he", "she", "i", "they", "we"} or after in {"into", "in", "under"}
    return False


def preferred_first(
    word: str, variants: tuple[Pronunciation, ...], *, before: str, after: str, separator: str, next_phone: str
) -> tuple[Pronunciation, ...]:
    """Put the variant that fits the context first.

    Parameters
    ----------
    word : str
        Lower-case word.
    variants : tuple of tuple of str
        Its pronunciations, the dictionary's default first.
    before, after : str
        Lower-case neighbours; empty at the ends.
    separator : str
        Separator token after the word. Weak forms are used only before a plain space.
    next_phone : str
        First phone of the next word, empty at the end.

    Returns
    -------
    tuple of tuple of str
        The same variants, reordered.
    """
    choice = _choice(word, before, after, separator, next_phone)
    if choice in ("noun", "verb"):
        wanted = _noun_like if choice == "noun" else _verb_like
        return tuple(sorted(variants, key=lambda phones: not wanted(word, phones)))
    return tuple(sorted(variants, key=lambda phones: " ".join(phones) != choice))


def _choice(word: str, before: str, after: str, separator: str, next_phone: str) -> str:
    if word in ("the", "to", "a"):
        vowel = next_phone[:2] in VOWELS and separator == SPACE
        weak, strong = {"the": ("DH AH0", "DH IY0"), "to": ("T AH0", "T UW1"), "a": ("AH0", "AH0")}[word]
        return strong if vowel or (word == "to" and separator != SPACE) else weak
    if word in SPECIAL:
        return SPECIAL[word][second_reading(word, before, after)]
    if word in STRESSED_NOUNS | STRESSED_VERBS | ENDING_NOUNS | ENDING_VERBS:
        default = "noun" if word in STRESSED_NOUNS | ENDING_NOUNS else "verb"
        return "verb" if before in VERB_CUES else "noun" if before in NOUN_CUES else default
    is_noun = word == "can" and before in NOUN_CUES
    return WEAK_FORMS.get(word, "") if separator == SPACE and not is_noun else ""


def _noun_like(word: str, phones: Pronunciation) -> bool:
    if word in ENDING_NOUNS | ENDING_VERBS:
        return phones[-1] == "S" or phones[-2:] == ("AH0", "T") or phones[-2:] == ("IH0", "T")
    return next(phone for phone in phones if phone[:2] in VOWELS).endswith("1")


def _verb_like(word: str, phones: Pronunciation) -> bool:
    return not _noun_like(word, phones)
