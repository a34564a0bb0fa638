"""The proxy between a client and the API, as the environment names it."""

from urllib.request import getproxies, proxy_bypass

import httpx2


def find_proxy(url: httpx2.URL) -> str | None:
    """Return the proxy over which requests to an address go, None where they go there themselves.

    As httpx2 goes by them: HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, and NO_PROXY with the hosts that need none.
    """
    named = getproxies()
    proxy = named.get(url.scheme) or named.get("all")
    without = {each.strip() for each in named.get("no", "").split(",")}
    if not proxy or "*" in without or proxy_bypass(url.host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
