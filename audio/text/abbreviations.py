"""Abbreviations with a full stop, and whether that stop also ends the sentence: `Dr.`, `St.`, `No. 7`, `etc.`."""

import re
from collections.abc import Iterable

from .numbers import cardinal
from .roman import roman_value
from .tables import word_set

# Before a name; the stop never ends a sentence.
TITLES = {
    "Dr": "doctor",
    "Mr": "mister",
    "Mrs": "missus",
    "Ms": "miz",
    "Messrs": "messieurs",
    "Mme": "madame",
    "Prof": "professor",
    "Gov": "governor",
    "Sen": "senator",
    "Rep": "representative",
    "Gen": "general",
    "Col": "colonel",
    "Capt": "captain",
    "Cpt": "captain",
    "Cmdr": "commander",
    "Adm": "admiral",
    "Lt": "lieutenant",
    "Sgt": "sergeant",
    "Maj": "major",
    "Pvt": "private",
    "Cpl": "corporal",
    "Rev": "reverend",
    "Fr": "father",
    "Hon": "honorable",
    "Pres": "president",
    "St": "saint",
    "Ste": "saint",
    "Mt": "mount",
    "Ft": "fort",
}
# Before a number.
NUMBERED = {
    "No": "number",
    "no": "number",
    "Nos": "numbers",
    "nos": "numbers",
    "p": "page",
    "pp": "pages",
    "vol": "volume",
    "Vol": "volume",
    "ch": "chapter",
    "Ch": "chapter",
    "chap": "chapter",
    "Chap": "chapter",
    "fig": "figure",
    "Fig": "figure",
    "figs": "figures",
    "Figs": "figures",
    "sec": "section",
    "Sec": "section",
    "eq": "equation",
    "Eq": "equation",
    "ed": "edition",
    "ext": "extension",
    "Ext": "extension",
    "Op": "opus",
    "op": "opus",
    "Rte": "route",
    "Hwy": "highway",
    "Apt": "apartment",
    "apt": "apartment",
    "art": "article",
    "Art": "article",
    "c": "circa",
    "ca": "circa",
}
# The stop does not end a sentence.
INNER = {
    "e.g.": "for example",
    "i.e.": "that is",
    "E.g.": "for example",
    "I.e.": "that is",
    "vs.": "versus",
    "v.": "versus",
    "cf.": "compare",
    "viz.": "namely",
    "approx.": "approximately",
    "esp.": "especially",
    "incl.": "including",
}
# The stop may end a sentence as well.
FINAL = {
    "etc.": "et cetera",
    "et al.": "et al",
    "Jr.": "junior",
    "Sr.": "senior",
    "Inc.": "incorporated",
    "Ltd.": "limited",
    "Co.": "company",
    "Cos.": "companies",
    "Corp.": "corporation",
    "Bros.": "brothers",
    "Ave.": "avenue",
    "Blvd.": "boulevard",
    "Rd.": "road",
    "Ln.": "lane",
    "Pkwy.": "parkway",
    "Dept.": "department",
    "dept.": "department",
    "Univ.": "university",
    "Assn.": "association",
    "Govt.": "government",
    "govt.": "government",
    "max.": "maximum",
    "avg.": "average",
    "est.": "established",
    "temp.": "temperature",
    "tel.": "telephone",
    "misc.": "miscellaneous",
    "Calif.": "california",
    "Conn.": "connecticut",
    "Fla.": "florida",
    "Mass.": "massachusetts",
    "Pa.": "pennsylvania",
    "Ph.D.": "P H D",
    "a.k.a.": "A K A",
    "St.": "street",
    "Dr.": "drive",
}
PLAIN = {"w/o": "without", "w/": "with ", "c/o": "care of", "b/c": "because", "and/or": "and or", "n/a": "N A"}
# Capitalised words that start sentences but hardly ever follow an abbreviation inside one.
STARTERS = word_set(
    "The He She It We They You I A An In On At But And Or So This That These Those There Then When Where What Who Why",
    "How My His Her Our Their Your Its If As After Before While Now Not No Yes One Some Many Most All Each Every For",
    "From With However Please Here Also Do Did Does Is Are Was Were Will Would Can Could Nobody Everyone Someone",
    "Let To By",
)


def _any_of(words: Iterable[str]) -> str:
    """Return a pattern for one of the words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


_PLAIN = re.compile("|".join(rf"(?<!\w){re.escape(a)}" + (r"\b" if a[-1] != "/" else "") for a in PLAIN))
_TITLE = re.compile(rf"\b(?:({_any_of(TITLES)})\.(?=\s[A-Z]|\sand\s[MD]rs?\b)|(Dr|Mr|Mrs|Ms|Prof|St)(?=\s[A-Z]))")
_NUMBERED = re.compile(rf"(?<![\w.])({_any_of(NUMBERED)})\. ?(?:(?=\d|of\b)|([IVXLC]+)\b)")
_INNER = re.compile(rf"(?<![\w.])({_any_of(INNER)})(?!\w)")
_FINAL = re.compile(rf"(?<![\w.])({_any_of(FINAL)})(?!\w)")
_STREET = re.compile(
    r"(?<=\w )([A-Z][a-z]+|\d+(?:st|nd|rd|th)) (St|Dr)\."
    rf"(?=[\"')\]]*$|[,;]|\s(?![A-Z])|\s(?:{_any_of(STARTERS)})\b)"
)
_DOTTED = re.compile(r"(?<![\w.])(?:[A-Za-z]\.){2,}(?:[A-Za-z]\b(?!\.))?('?s\b)?")
_INITIAL = re.compile(r"(?<![AP] )\b([A-Z])\.(?=-?\s?[A-Z])")


def expand_abbreviations(text: str) -> str:
    """Write abbreviations in full; a full stop that also ends the sentence stays.

    Parameters
    ----------
    text : str
        Text in its original case; dates, times and measures are already in words.

    Returns
    -------
    str
        `Dr. Lee of Elm St. saw No. 7, etc.` becomes "doctor Lee of Elm street saw number 7, et cetera."
    """
    text = _PLAIN.sub(lambda m: PLAIN[m[0]], text)
    text = _NUMBERED.sub(lambda m: NUMBERED[m[1]] + (f" {cardinal(roman_value(m[2]))}" if m[2] else " "), text)
    text = _INNER.sub(lambda m: INNER[m[1]], text)
    text = _STREET.sub(lambda m: f"{m[1]} {FINAL[m[2] + '.']}{kept_stop(m.string, m.end())}", text)
    text = _TITLE.sub(lambda m: TITLES[m[1] or m[2]], text)
    text = _FINAL.sub(lambda m: FINAL[m[1]] + kept_stop(m.string, m.end()), text)
    text = _DOTTED.sub(_letters, text)
    return _INITIAL.sub(lambda m: m[1] + (kept_stop(m.string, m.end()) or " "), text)


def kept_stop(text: str, end: int) -> str:
    """Return "." if the sentence ends where an abbreviation ends, else nothing.

    Parameters
    ----------
    text : str
        The text around the abbreviation.
    end : int
        Index behind its full stop.
    """
    rest = text[end : end + 80].lstrip("\"')]")
    if not rest.strip() or re.match(r"\s*\n\s*\n", rest):
        return "."
    following = re.match(r"\s+[\"'(]*([A-Z][a-z]*)\b", rest)
    return "." if following and following[1] in STARTERS else ""


def _letters(match: re.Match[str]) -> str:
    ending = match[1] or ""
    letters = match[0].removesuffix(ending)
    spelled = " ".join(letter for letter in letters.upper() if letter != ".")
    stop = kept_stop(match.string, match.end()) if letters.endswith(".") and not ending else ""
    return spelled + ("'s" if ending else "") + stop
