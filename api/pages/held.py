"""What was typed into a form that was sent after its session had ended: carried through signing in.

The page that says so asks for the password itself, and its form sends the text along, so nothing is kept
here. Whoever signs in there is given it back beside the way to the form. It is shown and never done.
"""

from collections.abc import Sequence
from itertools import chain
from urllib.parse import quote_plus

from api.pages.forms import BYTES_MAX, FIELDS_MAX, Form

FIELD = "held"
Typed = Sequence[tuple[str, str]]
# As sent. What a form to sign in holds beside it, and an address to go on to, have room in the rest.
_BYTES_MAX = BYTES_MAX - (24 << 10)
_TEXTS_MAX = FIELDS_MAX - 10


def hold(typed: Typed) -> Sequence[str]:
    """Return the texts that a form to sign in sends along, names and what was typed in turns.

    None where they are more than a form may be.
    """
    texts = list(chain.from_iterable(typed))
    size = sum(len(quote_plus(text)) + len(f"&{FIELD}=") for text in texts)
    return () if size > _BYTES_MAX or len(texts) > _TEXTS_MAX else texts


def read_held(form: Form) -> Typed:
    """Return what a form to sign in has brought along."""
    texts = form.fields.get(FIELD, ())
    return list(zip(texts[::2], texts[1::2], strict=False))
