"""The client of an OpenID Connect provider: authorization code with PKCE, state and nonce.

Authlib speaks the protocol and joserfc checks signatures; here is what is asked of them, and what is kept.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from api.tickets import ProviderAway, Ticket
from fakesieve.errors import RequestRefused
from fakesieve.logging import get_logger
from fakesieve.people.provider import Identity
from fakesieve.reasons import Reason

TIMEOUT_S = 5.0
AWAY_S = 15.0
"""A provider that did not answer is left alone for so long: each try keeps a thread and a person waiting."""
KEEP_S = 3600.0
"""What the provider says of itself is asked for again after this."""
KEYS_AGAIN_S = 5.0
"""An unknown key is looked for again, but not more often than this: tokens come from strangers."""
LEEWAY_S = 60
# Signatures by a key that the provider alone has: none of 'none', and none by a secret that we have too.
ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"})
_ANSWER_BYTES_MAX = 1 << 20
_log = get_logger(__name__)


@dataclass(frozen=True)
class ProviderRules:
    """Which provider, and what this installation is to it. Without a secret it is a public client."""

    issuer: str
    client_id: str
    redirect_url: str
    client_secret: str | None = field(default=None, repr=False)
    scope: str = "openid email profile"
    group_claim: str = "groups"


@dataclass(frozen=True)
class _Facts:
    """What the provider has said of itself, and when."""

    authorize_url: str
    token_url: str
    keys_url: str
    algorithms: tuple[str, ...]
    auth_method: str
    has_issuer: bool  # whether its answers name it (RFC 9207)
    seen_s: float


class IdentityProvider:
    """One provider. What it says of itself and its keys are kept for an hour.

    Nothing is locked while it is asked: of two threads that find something out of date both ask, and either
    answer may stay.
    """

    def __init__(
        self,
        rules: ProviderRules,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._rules, self._clock, self._now = rules, clock, now
        self._facts: _Facts | None = None
        self._keys: tuple[KeySet, float] | None = None
        self._away: tuple[ProviderAway, float] | None = None

    def begin(self, ticket: Ticket) -> str:
        """Return the address to send a browser to. Raises ProviderAway where the provider cannot be used."""
        facts = self._find_facts()
        with self._open(facts) as session:
            url, _ = session.create_authorization_url(
                facts.authorize_url, state=ticket.state, code_verifier=ticket.verifier, nonce=ticket.nonce
            )
        return str(url)

    def finish(self, ticket: Ticket, answer: Mapping[str, str]) -> Identity:
        """Return who has signed in, by the answer that a browser has brought back.

        Raises RequestRefused (UNAUTHENTICATED) for an answer that is not to this ticket or not by this
        provider, and ProviderAway where the provider cannot be used.
        """
        facts = self._find_facts()
        self._check_away()
        self._check_answer(ticket, answer, facts)
        token = self._exchange(facts, answer["code"], ticket.verifier)
        claims = self._read_token(facts, str(token.get("id_token", "")), ticket, token.get("access_token"))
        return self._describe(claims)

    def _check_answer(self, ticket: Ticket, answer: Mapping[str, str], facts: _Facts) -> None:
        if answer.get("state") != ticket.state:
            raise _refuse("this sign-in was not begun in this browser, or not lately")
        if answer.get("iss", self._rules.issuer if not facts.has_issuer else "") != self._rules.issuer:
            raise _refuse("the answer is from another provider")
        if "error" in answer:
            _log.info("oidc.refused", error=answer["error"][:100])
            raise _refuse("your provider did not sign you in")
        if not answer.get("code"):
            raise _refuse("the answer of your provider holds no code")

    def _exchange(self, facts: _Facts, code: str, verifier: str) -> Mapping[str, object]:
        try:
            with self._open(facts) as session:
                return cast(
                    "Mapping[str, object]",
                    session.fetch_token(
                        facts.token_url, code=code, code_verifier=verifier, grant_type="authorization_code"
                    ),
                )
        except (requests.ConnectionError, requests.Timeout) as fault:
            raise self._note_away() from fault
        except (AuthlibBaseError, requests.RequestException, ValueError, KeyError) as fault:
            _log.warning("oidc.exchange_failed", fault=type(fault).__name__)
            raise _refuse("your provider does not take its own code back") from fault

    def _read_token(
        self, facts: _Facts, text: str, ticket: Ticket, access_token: object
    ) -> Mapping[str, object]:
        """Return the claims of a token that is signed by the provider, for us, for this ticket, and now."""
        wanted: dict[str, Any] = {
            "iss": {"essential": True, "value": self._rules.issuer},
            "aud": {"essential": True, "value": self._rules.client_id},
        }
        params = {"nonce": ticket.nonce, "client_id": self._rules.client_id, "access_token": access_token}
        try:
            token = self._verify(facts, text)
            claims = CodeIDToken(token.claims, token.header, wanted, params)
            claims.validate(now=int(self._now()), leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError, KeyError) as fault:
            _log.warning("oidc.token_refused", fault=type(fault).__name__, detail=str(fault)[:200])
            raise _refuse("the token of your provider does not hold") from fault
        return claims

    def _verify(self, facts: _Facts, text: str) -> jwt.Token:
        keys, seen_s = self._find_keys(facts)
        try:
            return jwt.decode(text, keys, algorithms=list(facts.algorithms))
        except (InvalidKeyIdError, BadSignatureError, ValueError):
            if self._clock() - seen_s < KEYS_AGAIN_S:
                raise
        keys, _ = self._find_keys(facts, is_again=True)  # the provider may have changed its keys
        return jwt.decode(text, keys, algorithms=list(facts.algorithms))

    def _describe(self, claims: Mapping[str, object]) -> Identity:
        given = claims.get(self._rules.group_claim)
        listed = cast("list[object]", given) if isinstance(given, list) else []
        email, name = claims.get("email"), claims.get("name")
        return Identity(
            issuer=self._rules.issuer,
            subject=str(claims["sub"]),
            email=email if isinstance(email, str) and email else None,
            is_verified=claims.get("email_verified") is True,
            name=name if isinstance(name, str) and name else None,
            groups=frozenset({given} if isinstance(given, str) else map(str, listed)),
        )

    def _open(self, facts: _Facts) -> Any:  # Authlib has no types
        rules = self._rules
        return OAuth2Session(
            rules.client_id,
            rules.client_secret,
            scope=rules.scope,
            redirect_uri=rules.redirect_url,
            token_endpoint_auth_method=facts.auth_method,
            code_challenge_method="S256",
            default_timeout=TIMEOUT_S,
        )

    def _check_away(self) -> None:
        """Raise what the last try came to while that was a moment ago."""
        away = self._away
        if away is not None and self._clock() - away[1] < AWAY_S:
            raise ProviderAway(*away[0].args)

    def _note_away(self) -> ProviderAway:
        fault = _away(self._rules.issuer)
        self._away = fault, self._clock()
        return fault

    def _find_facts(self) -> _Facts:
        facts = self._facts
        if facts is None or self._clock() - facts.seen_s > KEEP_S:
            facts = self._facts = self._read_facts()
        return facts

    def _read_facts(self) -> _Facts:
        issuer = self._rules.issuer
        found = self._fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise _away(issuer, "it names itself otherwise; check FAKESIEVE_OIDC_ISSUER")
        urls = [str(found.get(f"{name}_endpoint", "")) for name in ("authorization", "token")]
        urls.append(str(found.get("jwks_uri", "")))
        scheme = issuer.partition("://")[0]
        if not all(url.startswith(("https://", f"{scheme}://")) for url in urls):
            raise _away(issuer, "its addresses are not safe to use")
        named = found.get("id_token_signing_alg_values_supported")
        algorithms = ALGORITHMS & set(cast("list[str]", named if isinstance(named, list) else ["RS256"]))
        methods = found.get("token_endpoint_auth_methods_supported")
        return _Facts(
            *urls,
            algorithms=tuple(sorted(algorithms)),
            auth_method=self._choose_method(methods),
            has_issuer=found.get("authorization_response_iss_parameter_supported") is True,
            seen_s=self._clock(),
        )

    def _choose_method(self, methods: object) -> str:
        if self._rules.client_secret is None:
            return "none"
        known = cast("list[object]", methods) if isinstance(methods, list) else ["client_secret_basic"]
        return "client_secret_basic" if "client_secret_basic" in known else "client_secret_post"

    def _find_keys(self, facts: _Facts, *, is_again: bool = False) -> tuple[KeySet, float]:
        kept = self._keys
        if is_again or kept is None or self._clock() - kept[1] > KEEP_S:
            found = self._fetch(facts.keys_url)
            try:
                keys = KeySet.import_key_set(cast("Any", found))
            except (JoseError, ValueError, KeyError, TypeError) as fault:
                raise _away(self._rules.issuer, "its keys cannot be read") from fault
            kept = self._keys = keys, self._clock()
        return kept

    def _fetch(self, url: str) -> Mapping[str, object]:
        self._check_away()
        try:
            answer = requests.get(url, timeout=TIMEOUT_S, stream=True, allow_redirects=False)
            with answer:
                body = answer.raw.read(_ANSWER_BYTES_MAX + 1, decode_content=True)
                if answer.status_code != 200 or len(body) > _ANSWER_BYTES_MAX:
                    raise _away(self._rules.issuer, f"it answers {answer.status_code}")
                found = cast("object", json.loads(body))
        except (requests.RequestException, OSError, ValueError) as fault:
            raise self._note_away() from fault
        if not isinstance(found, dict):
            raise _away(self._rules.issuer, "what it says of itself cannot be read")
        return cast("Mapping[str, object]", found)


def _refuse(seen: str) -> RequestRefused:
    return RequestRefused(Reason.UNAUTHENTICATED, seen, "begin the sign-in again")


def _away(issuer: str, why: str = "it does not answer") -> ProviderAway:
    _log.warning("oidc.away", issuer=issuer, why=why)
    return ProviderAway(f"the identity provider {issuer} cannot be used: {why}")
