"""Split texts into words for BM25, in all scripts.

Text in a script without spaces between words, such as Chinese or Thai, is split into overlapping
pairs of characters, as in Lucene's CJKAnalyzer. Korean is split in the same way, because a Korean
word includes its particles. There is no stemming and no dictionary.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain, pairwise

from nestvec.errors import require

# "the" is 3 to 8 % of the words of English texts. Other stop words, such as "in", "is" and "was",
# are also frequent in other languages.
_ENGLISH_WORD, _ENGLISH_SHARE = "the", 0.01
_ASCII_WORD = re.compile("[a-z0-9_]{2,}")
_MARKS = ("Mn", "Mc")  # Unicode categories
_WITHOUT_SPACES = (
    "["
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"  # Hangul
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "]"
)
_RUN = re.compile(f"({_WITHOUT_SPACES}+)")


def split_words(texts: Iterable[str]) -> list[list[str]]:
    """Split each text into lower-case words and pairs of characters.

    Punctuation is dropped. Words of one letter are dropped too, as in bm25s.
    """
    return [_split(text.lower()) for text in texts]


def stop_words_of(documents: Sequence[Sequence[str]]) -> frozenset[str]:
    """Return the English stop words if the documents are English, else no words.

    Documents are English if "the" is at least 1 % of their words. The list is Lucene's.

    Raises:
        MissingExtra: If bm25s is not installed.
    """
    counts = Counter(chain.from_iterable(documents))
    is_english = counts[_ENGLISH_WORD] >= _ENGLISH_SHARE * counts.total() > 0
    if not is_english:
        return frozenset()
    return frozenset(require("bm25s.stopwords", extra="report").STOPWORDS_EN)


def _split(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORD.findall(text)
    if not _RUN.search(text):
        return _word().findall(text)
    # NFKC converts full-width letters and half-width Katakana to their usual characters.
    words: list[str] = []
    for word in _word().findall(unicodedata.normalize("NFKC", text)):
        for number, part in enumerate(_RUN.split(word)):
            if number % 2:  # the odd parts are matches
                words += [first + second for first, second in pairwise(part)] or [part]
            elif len(part) > 1:
                words.append(part)
    return words


@cache
def _word() -> re.Pattern[str]:
    # \w does not contain the vowel signs of Indic and Southeast Asian scripts.
    codes = range(0x300, 0x10000)
    marks = "".join(chr(code) for code in codes if unicodedata.category(chr(code)) in _MARKS)
    return re.compile(f"[\\w{marks}]{{2,}}|{_WITHOUT_SPACES}")
