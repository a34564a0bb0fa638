"""What every page tells the browser to refuse: foreign scripts, styles, frames, and leaks of addresses."""

from collections.abc import Mapping

from fastapi import Request, Response

_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not 'no-referrer': with that, browsers hide the origin of our own forms from us too.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
_TRANSPORT = "max-age=31536000"


def write_policy(*, media: str = "", upload: str = "") -> str:
    """Return the content security policy of a page.

    Args:
        media: origin of the object store, on a page that plays a video.
        upload: origin of the object store, on a page that sends one there.
    """
    parts = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": f"'self' {upload}",
        "media-src": media or "'none'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value.strip()}" for name, value in parts.items())


def guard(request: Request, answer: Response) -> Response:
    """Set the headers of a page; one that brings its own policy keeps it."""
    for name, value in _HEADERS.items():
        answer.headers.setdefault(name, value)
    answer.headers.setdefault("Content-Security-Policy", write_policy())
    if request.url.scheme == "https":
        answer.headers.setdefault("Strict-Transport-Security", _TRANSPORT)
    return answer
