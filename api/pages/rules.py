"""The rules of a policy as the page's fields and addresses carry them: texts that say the exact values."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from pydantic import ValidationError

from api.problems import Problem
from api.schemas.policies import NewPolicyBody, Rules
from engine.policy import Policy
from fakesieve.reasons import Reason
from fakesieve.values.policies import NAME_LENGTH_MAX

RULES = ("low", "high", "min_coverage", "min_peak_frames")
_ORDER = "the lower threshold lies over the upper one"
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "low": "the lower threshold is a number over 0, and 1 at most",
        "high": "the upper threshold is a number over 0, and 1 at most",
        "min_coverage": "the least coverage is a number from 0 to 1",
        "min_peak_frames": "the frames at the peak are a whole number from 1 to 10,000",
        "name": f"a policy has a name of 1 to {NAME_LENGTH_MAX} letters of a to z, digits, '.', '_' and '-', "
        "that begins with a letter or a digit",
        "note": "a note has 1,000 letters at most",
    }
)
_Body = TypeVar("_Body", bound=Rules)


def format_exact(value: float) -> str:
    """Return a number with two digits behind the point or, where these are not all, with every one.

    Read again it is the same number: what a page previews is what it shows and what is kept.
    """
    text, rounded = repr(float(value)), f"{value:.2f}"
    return rounded if float(rounded) == value else text


def write_rules(policy: Policy) -> Mapping[str, str]:
    """Return the rules of a policy as texts by the names of their fields."""
    return {
        "low": format_exact(policy.low),
        "high": format_exact(policy.high),
        "min_coverage": format_exact(policy.min_coverage),
        "min_peak_frames": str(policy.min_peak_frames),
    }


def read_rules(texts: Mapping[str, str], name: str = "preview", like: Policy | None = None) -> Policy:
    """Return the rules that fields hold as a policy of a name; those not given are as in ``like``.

    Raises ``Problem`` (INVALID_REQUEST) with what is wrong of each.
    """
    given = {rule: texts[rule] for rule in RULES if rule in texts}
    return _read(Rules, {**(write_rules(like) if like else {}), **given}).make(name)


def read_new_policy(texts: Mapping[str, str]) -> NewPolicyBody:
    """Return the policy that a form names. Raises ``Problem`` (INVALID_REQUEST) as ``read_rules``."""
    wanted = (*RULES, "name", *(["note"] if texts.get("note") else []))
    return _read(NewPolicyBody, {field: texts.get(field, "") for field in wanted})


def _read(body: type[_Body], texts: Mapping[str, str]) -> _Body:
    # Absent, a rule of the API has a default; a page shows all of them, so here each must be there.
    whole = {**dict.fromkeys(RULES, ""), **texts}
    try:
        return body.model_validate_strings(whole)
    except ValidationError as fault:
        places = [str(each["loc"][0]) if each["loc"] else "" for each in fault.errors()]
        said = "; ".join(_WORDS.get(place, _ORDER) for place in places)
        raise Problem(Reason.INVALID_REQUEST, said) from fault
