"""Names of tenants: what they may be made of, and which are too like one another to stand side by side.

People and commands choose a tenant by its name, so a name that only looks like another one is a trap.
"""

import unicodedata

LETTERS_MAX = 100
_EAST_ASIAN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO"})  # are written together
# Letters that look like Latin ones in most typefaces, capital ones apart: the pairs of Unicode's table of
# confusables (UTS 39) that stand in words of living languages.
_CYRILLIC = {
    "aceijopsxy": "\u0430\u0441\u0435\u0456\u0458\u043e\u0440\u0455\u0445\u0443",
    "dhqwlvr": "\u0501\u04bb\u051b\u051d\u04cf\u0475\u0433",
    "ABCEHIJK": "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a",
    "MOPSTXY": "\u041c\u041e\u0420\u0405\u0422\u0425\u0423",
    "kmtbh": "\u043a\u043c\u0442\u0432\u043d",  # small ones that are made like the capital
}
_GREEK = {
    "aeiknoptuvxy": "\u03b1\u03b5\u03b9\u03ba\u03b7\u03bf\u03c1\u03c4\u03c5\u03bd\u03c7\u03b3",
    "ABEHIKMNOPTXYZ": "\u0391\u0392\u0395\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a7\u03a5\u0396",
}
_OTHERS = {"aglohnsu": "\u0251\u0261\u04c0\u0585\u0570\u0578\u054f\u057d", "ij": "\u0131\u0237"}
_LIKE = {
    ord(other): latin
    for pairs in (_CYRILLIC, _GREEK, _OTHERS)
    for latins, others in pairs.items()
    for latin, other in zip(latins, others, strict=True)
}


def check_tenant_name(name: str) -> None:
    """Raise ValueError, which says why, for a name that a new tenant cannot have."""
    if not 1 <= len(name) <= LETTERS_MAX:
        raise ValueError(f"a tenant has a name of 1 to {LETTERS_MAX} letters")
    if not name.isprintable() or name != " ".join(name.split()):
        raise ValueError("a tenant's name has printable letters alone, and single spaces between words")
    if name != unicodedata.normalize("NFKC", name):
        raise ValueError("a tenant's name is written in the usual form of its letters (Unicode's NFKC)")
    if len(scripts := find_scripts(name)) > 1:
        raise ValueError(f"a tenant's name is written in one script, not in {' and '.join(sorted(scripts))}")


def find_scripts(name: str) -> set[str]:
    """Return the scripts of the letters and digits of a name; digits of ASCII are of none."""
    found = set[str]()
    for letter in name:
        if letter.isalnum() and not (letter.isascii() and letter.isdecimal()):
            first = unicodedata.name(letter, "UNNAMED").split()[0].partition("-")[0]
            found.add("CJK" if first in _EAST_ASIAN else first)
    return found


def fold_tenant_name(name: str) -> str:
    """Return a name without case and accents, in Latin letters where it looks so, words apart by one space.

    Two names that fold to the same are taken for one another by people.
    """
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    folded = unicodedata.normalize("NFKC", bare.translate(_LIKE).casefold()).translate(_LIKE)
    words = "".join(c if c.isalnum() else " " for c in folded).split()
    return " ".join(words) or folded or unicodedata.normalize("NFKC", name)
