"""An API that gives no answer, or one that is not its own: what was seen, and what to do about it."""

import re
import socket
import ssl
from ipaddress import ip_address

import httpx2
from typing_extensions import override

from fakesieve.errors import Unavailable
from fakesieve.reasons import Reason

_USER = re.compile("^(https?://|).*@", re.IGNORECASE | re.DOTALL)
_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)


class ApiUnreachable(Unavailable):
    """There was no answer of the API (API_UNAVAILABLE), or one that cannot be read (INTERNAL).

    Or the object store took no file (OBJECT_STORE_UNAVAILABLE). ``pause_s`` is how long to wait at least
    before another try, None where none can help. ``was_sent`` is false where no connection came about.
    """

    was_sent = True

    def __init__(
        self, reason: Reason, seen: str, hint: str | None = None, pause_s: float | None = None
    ) -> None:
        super().__init__(reason, seen, hint)
        self.pause_s = pause_s

    @property
    def is_retryable(self) -> bool:
        """Whether the same call may succeed later; ``reason.is_retryable`` tells of most of its kind."""
        return self.pause_s is not None

    @override
    def __reduce__(self) -> tuple[type["ApiUnreachable"], tuple[object, ...]]:
        return (type(self), (self.reason, self.seen, self.hint, self.pause_s))


def unreachable(seen: str, pause_s: float | None = None, hint: str | None = None) -> ApiUnreachable:
    """Return the error for no answer, or for a refusal by somebody else."""
    return ApiUnreachable(Reason.API_UNAVAILABLE, seen, hint, pause_s)


def unreadable(seen: str, hint: str | None = None) -> ApiUnreachable:
    """Return the error for an answer that came and cannot be read; what was asked for may be done.

    Its reason is none that may be tried again: who went by that would have it done twice.
    """
    advice = "use the release of fakesieve that the API has; before you ask again, look whether it was done"
    return ApiUnreachable(Reason.INTERNAL, seen, hint or advice)


def foreign(answer: httpx2.Response, pause_s: float | None = None) -> ApiUnreachable:
    """Return the error for an answer that this API does not give, as a proxy's page for signing in."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    told = f"{answer.status_code} with {kind}" if kind else str(answer.status_code)
    seen = f"{answer.request.url.host} answered {told}, which is no answer of the API"
    hint = "check that FAKESIEVE_API_URL is the API's, and that no proxy answers in its place"
    return unreadable(seen, hint) if answer.is_success else unreachable(seen, pause_s, hint)


def lost(url: str, fault: httpx2.TransportError, proxy: str | None = None) -> ApiUnreachable:
    """Return the error for a request that got no answer: by what it was lost, and what helps against that.

    ``proxy`` is the one over which it went. It may be tried again, unless it was refused for what stays as it
    is: the certificate, the address, or what the proxy lets through.
    """
    address = hide_password(url)
    if proxy is None:
        way, (what, hint, can_pass) = "", _explain(address, fault)
    else:
        shown = hide_password(proxy)
        way, (what, hint, can_pass) = f" over the proxy {shown}", _explain_proxy(address, shown, fault)
    found = unreachable(f"{address} cannot be reached{way}: {what}", 0.0 if can_pass else None, hint)
    found.was_sent = not isinstance(fault, _NOT_SENT)
    return found


def tell(fault: httpx2.TransportError) -> str:
    """Return what is known of a lost connection."""
    return str(fault) or type(fault).__name__


def _explain(address: str, fault: httpx2.TransportError) -> tuple[str, str, bool]:
    """Return what was seen, what to do, and whether it may pass by itself."""
    match _find_cause(fault) or fault:
        case ssl.SSLCertVerificationError() as refused:
            hint = (
                f"have {address} show a certificate in force for that name; name the authority that signed it"
                " in SSL_CERT_FILE if it is your own"
            )
            why = _quote_tls(refused, "verify_message")
            return f"its certificate is not trusted: {why}", hint, False
        case ssl.SSLError() as refused if isinstance(fault, httpx2.ConnectError):
            hint = f"check that {address} speaks TLS at this port"
            # Over a network it would send the key in plain text.
            plain = "; else FAKESIEVE_API_URL begins with http://" if _is_here(address) else ""
            return f"TLS failed: {_quote_tls(refused, 'reason')}", hint + plain, True
        case ssl.SSLError() as refused:
            hint = f"see the log of {address}, and whether it wants a certificate of its callers"
            return f"the connection ended with an error of TLS: {_quote_tls(refused, 'reason')}", hint, True
        case socket.gaierror():
            hint = f"check the host name in FAKESIEVE_API_URL ({address}), and the DNS of this machine"
            return f"its name cannot be resolved: {tell(fault)}", hint, True
        case ConnectionRefusedError():
            hint = f"start the API at {address} ('fakesieve serve'), or correct FAKESIEVE_API_URL"
            return f"the connection was refused: {tell(fault)}", hint, True
        case httpx2.TimeoutException():
            hint = f"check the network and the firewalls between here and {address}, and the API's load"
            return f"no answer in time: {tell(fault)}", hint, True
        case httpx2.UnsupportedProtocol():
            return tell(fault), "begin FAKESIEVE_API_URL with http:// or https://", False
        case _:
            return tell(fault), f"check that the API answers at {address}, and FAKESIEVE_API_URL", True


def _explain_proxy(address: str, proxy: str, fault: httpx2.TransportError) -> tuple[str, str, bool]:
    """Return the same as ``_explain`` of a request that went over a proxy.

    The proxy alone is connected to and looked up by its name here.
    """
    check = f"check {proxy} in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY; NO_PROXY names hosts that need no proxy"
    match _find_cause(fault) or fault:
        case socket.gaierror():
            return f"the proxy's name cannot be resolved: {tell(fault)}", check, True
        case ConnectionRefusedError():
            return f"the proxy refused the connection: {tell(fault)}", check, True
        case httpx2.ProxyError():
            # Its own refusals stay, as of who asks (407) or for which host (403).
            return f"the proxy answered {tell(fault)}", check, not str(fault).startswith("4")
        case _:
            what, hint, can_pass = _explain(address, fault)
            return what, f"{hint}; and {check}", can_pass


_CAUSES = (ssl.SSLError, socket.gaierror, ConnectionRefusedError)


def _find_cause(fault: httpx2.TransportError) -> OSError | None:
    """Return the error of the network or of TLS that a lost connection came from, where that tells more.

    httpx2 raises its errors from those of httpcore2, and that those from the system's; but then its pool
    raises them again ``from None``, and only the context is left. The context is looked at there alone:
    elsewhere it is what the caller was handling when it sent the request.
    """
    mapped = fault.__cause__
    found = mapped
    if mapped is not None and isinstance(fault, httpx2.NetworkError) and not isinstance(mapped, OSError):
        found = mapped.__cause__ or mapped.__context__
    return found if isinstance(found, _CAUSES) else None


def _quote_tls(refused: ssl.SSLError, field: str) -> str:
    """Return what TLS says of an error in a field, which is there only where OpenSSL made the error."""
    said: str | None = getattr(refused, field, None)
    return said or str(refused)


def _is_here(address: str) -> bool:
    """Whether an address is one of this machine."""
    host = httpx2.URL(address).host
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def hide_password(url: str) -> str:
    """Return an address without the user and the password that may stand in it.

    Both are taken off where it is no good address, too: nothing stays of what is before the last ``@``.
    """
    return _USER.sub(r"\1", url)
