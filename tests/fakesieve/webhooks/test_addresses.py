"""A URL reads in one way, and leads to addresses that everybody may have."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason
from fakesieve.webhooks.addresses import (
    AddressRules,
    Target,
    check_address,
    is_public,
    read_url,
    resolve_target,
)

PUBLIC = AddressRules()
OWN = AddressRules.allow(["10.1.0.0/16", "fd00:1::/32"])

REFUSED = {
    "A21 metadata": "http://169.254.169.254/",
    "A21 metadata by https": "https://169.254.169.254/latest",
    "A22 broker": "http://127.0.0.1:6379/",
    "A23 loopback": "http://[::1]/",
    "A23 loopback by https": "https://[::1]/",
    "A24 decimal": "https://2130706433/",
    "A24 octal": "https://0177.1/",
    "A24 hexadecimal": "https://0x7f.1/",
    "A24 short": "https://127.1/",
    "A24 hexadecimal whole": "https://0x7f000001/",
    "A24 leading zeros": "https://127.0.0.01/",
    "A27 file": "file:///etc/passwd",
    "A28 gopher": "gopher://example.com/",
    "A28 ftp": "ftp://example.com/",
    "A28 data": "data:text/plain,x",
    "A29 user": "https://good@evil.example/",
    "A29 user and password": "https://a:b@evil.example/",
    "A30 mapped": "https://[::ffff:127.0.0.1]/",
    "A30 mapped metadata": "https://[::ffff:a9fe:a9fe]/",
    "A64 backslash": "https://ok.example\\@127.0.0.1/",
    "A64 fragment": "https://ok.example#@127.0.0.1/",
    "A64 at": "https://ok.example/@\\127.0.0.1",
    "nat64": "https://[64:ff9b::7f00:1]/",
    "6to4": "https://[2002:7f00:1::]/",
    "local name": "https://localhost/",
    "name below the local one": "https://hook.LOCALHOST./",
    "private": "https://10.0.0.1/",
    "shared": "https://100.64.0.1/",
    "unique local": "https://[fd00::1]/",
    "link local": "https://[fe80::1]/",
    "multicast": "https://224.0.0.1/",
    "unspecified": "https://0.0.0.0/",
    "broadcast": "https://255.255.255.255/",
    "zone": "https://[fe80::1%25eth0]/",
    "plain http": "http://example.com/",
    "other port": "https://example.com:6379/",
    "port zero": "https://example.com:0/",
    "port too high": "https://example.com:99999/",
    "space": "https://example.com/ x",
    "line end": "https://example.com/\r\nX: y",
    "letters that look alike": "https://ex\u0430mple.com/",
    "full stop of another script": "https://127\u30020.0.1/",
    "no host": "https:///x",
    "upper scheme with nothing": "https:",
    "empty label": "https://a..b/",
    "long": "https://example.com/" + "a" * 2000,
    "empty": "",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_url_that_may_lead_inside_is_refused(name: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_url(REFUSED[name], PUBLIC)
    assert refused.value.reason is Reason.URL_NOT_ALLOWED


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com", Target(True, "example.com", 443, "/")),
        ("https://Hooks.Example.com:8443/a?c=%20", Target(True, "hooks.example.com", 8443, "/a?c=%20")),
        ("https://example.com./x", Target(True, "example.com", 443, "/x")),
        ("https://93.184.215.14/", Target(True, "93.184.215.14", 443, "/")),
        ("https://[2606:2800::1]/", Target(True, "2606:2800::1", 443, "/")),
    ],
)  # fmt: skip
def test_a_public_url_is_taken_apart(url: str, target: Target) -> None:
    assert read_url(url, PUBLIC) == target


def test_the_host_header_names_a_port_that_is_not_the_usual_one() -> None:
    assert read_url("https://example.com:8443/", PUBLIC).host_header == "example.com:8443"
    assert read_url("https://example.com/", PUBLIC).host_header == "example.com"


def test_own_networks_are_let_through_and_no_others() -> None:
    assert read_url("http://10.1.2.3:9000/", OWN).port == 9000
    for url in ("http://10.2.2.3/", "http://127.0.0.1/", "http://[::1]/"):
        with pytest.raises(RequestRefused):
            read_url(url, OWN)


def test_with_own_networks_the_world_is_still_reached_by_https_alone() -> None:
    target = read_url("http://example.com:9000/", OWN)  # the name may be one of ours
    assert resolve_target(target, OWN, lambda *_: ["10.1.0.5"]) == [ipaddress.ip_address("10.1.0.5")]
    with pytest.raises(RequestRefused, match="outside the own networks"):
        resolve_target(target, OWN, lambda *_: ["93.184.215.14"])


@pytest.mark.parametrize(
    "answers",
    [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["::ffff:169.254.169.254"], ["fe80::1%eth0"]],
)
def test_one_inner_address_makes_a_name_suspect(answers: list[str]) -> None:
    with pytest.raises(RequestRefused, match="private, local or reserved"):
        resolve_target(read_url("https://example.com/", PUBLIC), PUBLIC, lambda *_: answers)


def test_a_name_without_an_address_cannot_be_reached() -> None:
    with pytest.raises(OSError, match="no address"):
        resolve_target(read_url("https://example.com/", PUBLIC), PUBLIC, lambda *_: [])


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_judged_as_what_it_maps(address: ipaddress.IPv4Address) -> None:
    assert is_public(ipaddress.IPv6Address(f"::ffff:{address}")) is is_public(address)


@given(st.ip_addresses())
def test_an_address_is_let_through_or_refused(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if is_public(address):
        check_address(address, PUBLIC)
        assert address.is_global
    else:
        with pytest.raises(RequestRefused):
            check_address(address, PUBLIC)


@given(st.text(max_size=60).map(lambda text: "https://" + text))
def test_any_text_is_a_target_or_refused(url: str) -> None:
    try:
        target = read_url(url, PUBLIC)
    except RequestRefused:
        return
    assert target.host
    assert target.path.startswith("/")
    assert target.is_https
