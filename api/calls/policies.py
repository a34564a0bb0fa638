"""Policies and models: thresholds and weights, tried before they are used."""

from collections.abc import Iterator

from api.calls.bodies import write_body
from api.calls.paths import fill_path
from api.calls.sender import Sender
from api.schemas.models import (
    ComparisonOut,
    ModelOut,
    PromoteBody,
    RescoreBody,
    RescoreOut,
    RollBackBody,
    RolledBackOut,
)
from api.schemas.policies import (
    AppliedOut,
    ApplyBody,
    NewPolicyBody,
    PolicyOut,
    PreviewAsk,
    PreviewOut,
    TryRulesBody,
)
from fakesieve.values.models import ModelAlias


class Policies:
    """Thresholds, by id, by name (its newest version) or by ``name@version``.

    To preview and apply, ``-`` (``fakesieve.values.policies.OWN``) is each model's own policy.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def iter(self) -> Iterator[PolicyOut]:
        """Yield the presets, the models' own policies and all versions of the tenant's."""
        return self._sender.pages("/v1/policies", PolicyOut)

    def get(self, policy: str) -> PolicyOut:
        """Return one policy."""
        return self._sender.get(fill_path("/v1/policies/{}", policy), PolicyOut)

    def create(self, new: NewPolicyBody) -> PolicyOut:
        """Keep a policy, or the next version of one. It judges nothing before it is applied."""
        return self._sender.post("/v1/policies", PolicyOut, write_body(new))

    def preview(self, policy: str, asked: PreviewAsk | None = None) -> PreviewOut:
        """Say what a policy would change."""
        return self._sender.post(
            fill_path("/v1/policies/{}:preview", policy), PreviewOut, write_body(asked or PreviewAsk())
        )

    def try_rules(self, rules: TryRulesBody) -> PreviewOut:
        """Say what rules would change that are not kept."""
        return self._sender.post("/v1/policies:preview", PreviewOut, write_body(rules))

    def apply(self, policy: str, how: ApplyBody | None = None) -> AppliedOut:
        """Judge history again, and what comes from now on."""
        return self._sender.post(
            fill_path("/v1/policies/{}:apply", policy), AppliedOut, write_body(how or ApplyBody())
        )


class Models:
    """Sets of weights, by id or by what they are used for."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def iter(self) -> Iterator[ModelOut]:
        """Yield all models that made a score or that a host runs."""
        return self._sender.pages("/v1/models", ModelOut)

    def get(self, model: str) -> ModelOut:
        """Return one model with its card."""
        return self._sender.get(fill_path("/v1/models/{}", model), ModelOut)

    def promote(self, model: str, alias: ModelAlias = ModelAlias.CHAMPION) -> ModelOut:
        """Say what a model is used for."""
        return self._sender.post(
            fill_path("/v1/models/{}:promote", model), ModelOut, write_body(PromoteBody(alias=alias))
        )

    def roll_back(self, alias: ModelAlias = ModelAlias.CHAMPION, *, dry_run: bool = False) -> RolledBackOut:
        """Give a use back to the model before, or only say which one that is (``dry_run``)."""
        body = write_body(RollBackBody(alias=alias, dry_run=dry_run))
        if not dry_run:  # an API of before it refuses a field that it does not know
            del body["dry_run"]
        return self._sender.post("/v1/models:rollback", RolledBackOut, body)

    def compare(
        self,
        base: str,
        other: str,
        filter: str | None = None,  # noqa: A002 - the name that the API gives it
        flips_max: int | None = None,
    ) -> ComparisonOut:
        """Compare two models over the videos that both have judged."""
        query = {"base": base, "other": other, "filter": filter, "flips_max": flips_max}
        return self._sender.get("/v1/models:compare", ComparisonOut, query)

    def rescore(self, asked: RescoreBody, idempotency_key: str | None = None) -> RescoreOut:
        """Have videos scored again by a model, or only count them (``dry_run``)."""
        return self._sender.post("/v1/analyses:rescore", RescoreOut, write_body(asked), idempotency_key)
