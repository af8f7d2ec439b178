"""What stands on screens: web and mail addresses, `@names`, `#tags`, phone numbers, file names."""

import re

from .numbers import cardinal, digits

SIGNS = {
    ".": "dot",
    "/": "slash",
    "-": "dash",
    "_": "underscore",
    "@": "at",
    ":": "colon",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    "%": "percent",
    "+": "plus",
    "~": "tilde",
}
ENDINGS = r"(?:com|org|net|edu|gov|mil|int|info|io|ai|co|uk|us|de|fr|eu|ca|au|jp|ch|tv|me|dev|app|gov\.uk|co\.uk)"
SPELLED_ENDINGS = frozenset(("io", "ai", "uk", "us", "de", "fr", "eu", "ca", "au", "jp", "ch", "tv"))
URL = re.compile(
    rf"(?:https?://|ftp://)[^\s<>\"']+|\bwww\.[^\s<>\"']+|(?<![\w@.])(?:[\w-]+\.)+{ENDINGS}(?:/[^\s<>\"']*)?(?![\w@.]*\w)"
)
MAIL = re.compile(r"\b(?:mailto:)?([\w.+-]+@[\w-]+(?:\.[\w-]+)+)")
TAGS = re.compile(r"</?[A-Za-z][^<>\n]*>")
HANDLE = re.compile(r"(?<![\w@])@(\w+)")
TAG = re.compile(r"(?<![\w#&])#([A-Za-z]\w*)")
FILE = re.compile(r"(?<=[\w])\.(?=[a-z]\w*\b)(?<!\d\.)(?![a-z]\.)")
PHONE = re.compile(
    r"(?<![\w.-])(?:(?:\+?(?P<country>\d{1,2})[ .-])?(?:\((?P<area>\d{3})\) ?|(?P<code>\d{3})(?P<gap>[ .-])))?"
    r"(?P<office>\d{3})(?(gap)[ .-]|[.-])(?P<line>\d{4})(?![\w-])"
)
HUNDREDS = frozenset(("800", "900"))


def expand_web(text: str) -> str:
    """Read addresses, names and phone numbers aloud.

    Parameters
    ----------
    text : str
        `www.example.com/a` becomes "W W W dot example dot com slash a", `#FirstLight` "hashtag First Light",
        `555-0199` "five five five, zero one nine nine".

    Returns
    -------
    str
        The text without addresses.
    """
    text = TAGS.sub(" ", text)
    text = MAIL.sub(lambda m: read_address(m[1]), text)
    text = URL.sub(_url, text)
    text = HANDLE.sub(lambda m: f"at {_split_camel(m[1])}", text)
    text = TAG.sub(lambda m: f"hashtag {_split_camel(m[1])}", text)
    text = PHONE.sub(_phone, text)
    return FILE.sub(" dot ", text)


def read_address(address: str) -> str:
    """Read an address: signs by name, digits as numbers up to two places, country endings as letters."""
    words = []
    for part in re.findall(r"[A-Za-z]+|\d+|[^\w\s]|_", address):
        if part in SIGNS:
            words.append(SIGNS[part])
        elif part.isdigit():
            words.append(cardinal(int(part)) if len(part) < 3 and part[0] != "0" else digits(part))
        elif part.isalpha():
            after_dot = words[-1:] == ["dot"]
            spelled = len(part) == 1 or part.lower() == "www" or (after_dot and part.lower() in SPELLED_ENDINGS)
            words.append(" ".join(part.upper()) if spelled else part)
    return " ".join(words)


def _url(match: re.Match[str]) -> str:
    address = match[0].rstrip(".,;:!?)]'")
    rest = match[0][len(address) :]
    return read_address(re.sub(r"^\w+://", "", address).rstrip("/")) + rest


def _split_camel(name: str) -> str:
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)", " ", name)
    return " ".join(parted.replace("_", " ").split())


def _phone(match: re.Match[str]) -> str:
    area = match["area"] or match["code"]
    groups = [digits(match["country"])] if match["country"] else []
    if area:
        groups.append(f"{cardinal(int(area))}" if area in HUNDREDS else digits(area))
    return ", ".join([*groups, digits(match["office"]), digits(match["line"])])
