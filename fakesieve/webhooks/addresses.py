"""Where a webhook may lead: a URL that reads in one way only, and addresses that are open to everybody.

A URL is checked when it is registered and again, with the addresses of its name, each time something is
sent. The connection goes to an address that was checked, never to the name: what a name server says a moment
later changes nothing.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fakesieve.errors import RequestRefused
from fakesieve.reasons import Reason

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]

URL_LETTERS_MAX = 2000
PORTS = frozenset({443, 8443})
# The whole URL is matched: a parser that reads on where another one stops is how guards are led astray.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>/[A-Za-z0-9._~%!$&'()*+,;=:@/-]*)?(?P<query>\?[A-Za-z0-9._~%!$&'()*+,;=:@/?-]*)?"
)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LOCAL_NAME = re.compile(r"(.+\.)?localhost")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)")
# IPv4 addresses travel inside these: NAT64, 6to4, Teredo and the old compatible form.
_CARRIERS = tuple(
    ipaddress.IPv6Network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96")
)


@dataclass(frozen=True)
class AddressRules:
    """What is let through beside public addresses: networks of one's own, and plain HTTP to those alone."""

    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = PORTS

    @classmethod
    def allow(cls, networks: Sequence[str]) -> "AddressRules":
        """Return rules that let own networks through on any port. Raises ValueError for what is none."""
        return cls(tuple(ipaddress.ip_network(network) for network in networks))


@dataclass(frozen=True)
class Target:
    """A URL taken apart. ``path`` holds the query too."""

    is_https: bool
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        """The host as HTTP says it: with the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_https else 80) else f"{host}:{self.port}"


def read_url(url: str, rules: AddressRules) -> Target:
    """Take a URL apart, or raise RequestRefused (URL_NOT_ALLOWED): no name is looked up."""
    match = _URL.fullmatch(url) if len(url) <= URL_LETTERS_MAX else None
    if match is None:
        raise _refuse("it is not a plain URL: https, a host, perhaps a port, a path and a query")
    is_https = match["scheme"] == "https"
    if not is_https and not rules.networks:
        raise _refuse("it is not https")
    host = match["host"].strip("[]").lower().rstrip(".")
    port = int(match["port"] or (443 if is_https else 80))
    address = _read_literal(host, is_bracketed=match["host"].startswith("["))
    if address is None and _LOCAL_NAME.fullmatch(host):
        address = ipaddress.IPv4Address("127.0.0.1")  # as every machine reads it: no name server is asked
    if address is not None:
        check_address(address, rules)
    if port not in rules.ports and not rules.networks:
        raise _refuse(f"port {port} is not one of {', '.join(map(str, sorted(rules.ports)))}")
    if not 0 < port < 65_536:
        raise _refuse(f"there is no port {port}")
    return Target(is_https, host, port, (match["target"] or "/") + (match["query"] or ""))


def resolve_target(target: Target, rules: AddressRules, resolve: Resolver) -> Sequence[Address]:
    """Return the addresses of a target, every one of which may be connected to.

    One that may not makes all of them suspect: RequestRefused (URL_NOT_ALLOWED). Raises OSError where the
    name has none.
    """
    addresses = [ipaddress.ip_address(text) for text in resolve(target.host, target.port)]
    if not addresses:
        raise OSError(f"{target.host} has no address")
    for address in addresses:
        check_address(address, rules)
        if not is_own(address, rules) and (not target.is_https or target.port not in rules.ports):
            raise _refuse("an address outside the own networks is reached by https on the usual ports")
    return addresses


def check_address(address: Address, rules: AddressRules) -> None:
    """Raise RequestRefused (URL_NOT_ALLOWED) for an address that is neither public nor our own."""
    if not is_public(address) and not is_own(address, rules):
        raise _refuse("its address is private, local or reserved")


def is_own(address: Address, rules: AddressRules) -> bool:
    """Whether the address lies in a network that the rules let through."""
    return any(address.version == network.version and address in network for network in rules.networks)


def is_public(address: Address) -> bool:
    """Whether everybody may have this address, an IPv4 address within an IPv6 one included."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        # What carries an IPv4 address is refused whole: a public service has an address of its own.
        if any(address in network for network in _CARRIERS) or address.scope_id is not None:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def look_up(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a name. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _read_literal(host: str, *, is_bracketed: bool) -> Address | None:
    """Return the address that a host is, None for a name. Odd spellings of addresses are refused."""
    if is_bracketed:
        try:
            return ipaddress.IPv6Address(host)
        except ValueError as fault:
            raise _refuse("its host is no address") from fault
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):  # resolvers read 2130706433, 0177.1 and 0x7f.1 as addresses
        try:
            return ipaddress.IPv4Address(host)
        except ValueError as fault:
            raise _refuse("its host is a number that is no address with four parts") from fault
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refuse("its host is no name")
    return None


def _refuse(why: str) -> RequestRefused:
    return RequestRefused(Reason.URL_NOT_ALLOWED, f"the URL may not be called: {why}")
