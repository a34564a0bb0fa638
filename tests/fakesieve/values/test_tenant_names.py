"""Names of tenants: printable, in one script, and none that people take for another one."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fakesieve.database import Database
from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.records.tenants import ensure_tenant
from fakesieve.tenant_changes import list_tenants
from fakesieve.values.tenant_names import LETTERS_MAX, check_tenant_name, fold_tenant_name


@pytest.mark.parametrize(
    "name",
    [
        "acme",
        "Acme Ltd. (2)",
        "tenant-1f",
        "M\u00fcller & S\u00f8n",
        "\u041f\u0440\u0435\u0441\u0441\u0430 24",
        "\u65e5\u672c\u30c6\u30ec\u30d3",
    ],
)
def test_names_of_living_languages_are_taken(name: str) -> None:
    check_tenant_name(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "1 to 100 letters"),
        ("a" * (LETTERS_MAX + 1), "1 to 100 letters"),
        ("acme\n", "printable"),
        ("ac\0me", "printable"),
        ("acme\u202egpj", "printable"),  # turns the line around
        ("ac\u200bme", "printable"),  # a space without width
        (" acme", "single spaces"),
        ("acme  ltd", "single spaces"),
        ("acme\u00a0ltd", "printable"),
        ("\uff41cme", "usual form"),  # a letter as wide as a Chinese one
        ("acme\u0301", "usual form"),  # an accent apart from its letter
        ("\u0430cme", "CYRILLIC and LATIN"),
        ("acm\u03b5", "GREEK and LATIN"),
        ("acme \u0661", "ARABIC and LATIN"),  # a digit of another script
    ],
)
def test_odd_names_are_refused(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_tenant_name(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("acme", "ACME"),
        ("acme", "acm\u00e9"),
        ("acme ltd", "acme-ltd."),
        ("cope", "\u0441\u043e\u0440\u0435"),  # all Cyrillic
        ("HOKTEM", "\u041d\u041e\u041a\u0422\u0415\u041c"),
        ("tax", "\u03c4\u03b1\u03c7"),  # all Greek
        ("ing", "\u0131ng"),  # i without its dot
        ("\u0341", "\u0301"),  # two codes of one accent, and no letter
    ],
)
def test_names_that_look_alike_fold_to_the_same(one: str, other: str) -> None:
    assert fold_tenant_name(one) == fold_tenant_name(other)


@pytest.mark.parametrize(("one", "other"), [("acme", "acne"), ("team 12", "team 1-2"), ("a", "\u0431")])
def test_names_that_differ_stay_apart(one: str, other: str) -> None:
    assert fold_tenant_name(one) != fold_tenant_name(other)


@given(st.text(max_size=20))
@example("\u0301")  # an accent and no letter
def test_any_text_is_judged_and_folds_to_something_that_stays(name: str) -> None:
    folded = fold_tenant_name(name)
    assert folded or not name.strip()
    try:
        check_tenant_name(name)
    except ValueError:
        return
    assert name.isprintable()
    assert fold_tenant_name(name.upper().lower()) == fold_tenant_name(name.lower()) or not name.isascii()


def test_a50_no_tenant_is_made_that_looks_like_another(database: Database) -> None:
    def make(name: str) -> str:
        with database.transaction(tenant_id=None) as session:
            return ensure_tenant(session, name)

    acme = make("acme")
    with pytest.raises(RequestRefused) as odd:
        make("\u0430cme")
    assert odd.value.reason is Reason.INVALID_REQUEST
    assert r"\u0430cme" in odd.value.seen  # told so that it can be seen
    for name in ("Acme", "\u0430\u0441\u043c\u0435"):
        with pytest.raises(RequestRefused, match="looks like that of the tenant 'acme'") as alike:
            make(name)
        assert alike.value.reason is Reason.STATE_CONFLICT
    assert make("acme") == acme
    with database.transaction(tenant_id=None) as session:
        assert [tenant.name for tenant in list_tenants(session)] == ["acme"]
