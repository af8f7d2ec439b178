"""IPA of other programs -> ARPAbet."""

import pytest

from fewstep.audio.text.ipa import IPA, ipa_to_arpabet
from fewstep.audio.text.lexicon import parse_phones


@pytest.mark.parametrize(
    "ipa, phones",
    [
        ("həlˈoʊ", "HH AH0 L OW1"),
        ("təmˈeɪɾoʊ", "T AH0 M EY1 T OW0"),
        ("ˌʌndɚstˈænd", "AH2 N D ER0 S T AE1 N D"),
        ("d͡ʒˈɔɪ", "JH OY1"),
        ("tʃˈɜːtʃ", "CH ER1 CH"),
        ("hˈɜːɹi", "HH ER1 IY0"),
        ("bˈʌʔn̩", "B AH1 T AH0 N"),
        ("ˈθɪŋk", "TH IH1 NG K"),
        ("(en)ʒˈɑː(fr)", "ZH AA1"),
        ("", ""),
    ],
)
def test_words_become_arpabet(ipa, phones):
    assert ipa_to_arpabet(ipa) == tuple(phones.split())


def test_every_sign_leads_to_real_phones():
    assert all(parse_phones(phones) for phones in IPA.values())


def test_a_foreign_sign_is_named():
    with pytest.raises(ValueError, match="no ARPAbet phone for the IPA sign 'ʘ' in 'aʘ'"):
        ipa_to_arpabet("aʘ")
