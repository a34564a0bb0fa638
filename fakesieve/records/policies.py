"""Policies that have made a verdict, as rows that never change, and what a tenant makes of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    UniqueConstraint,
    and_,
    bindparam,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from engine.policy import PRESETS, Policy
from fakesieve.errors import RequestRefused
from fakesieve.ids import IdPrefix
from fakesieve.reasons import Reason
from fakesieve.records.audit import record_audit
from fakesieve.records.models import Model, ModelPolicy
from fakesieve.records.table import Base, CreateTime, Id, TenantOwned, public_id, tenant_key
from fakesieve.values.policies import NAME_LENGTH_MAX

_LOCK = 0x706F6C  # the first half of the lock on which policy a tenant judges with


class PolicyVersion(CreateTime, Base):
    """One version of a policy; all tenants share it.

    Two rows may have the same name and version where models of the same name brought different thresholds:
    what a verdict stood on must not change after it was given.
    """

    __tablename__ = "policy"
    __table_args__ = (
        UniqueConstraint(
            "name", "version", "low", "high", "min_coverage", "min_peak_frames", "extrapolated",
            name="uq_policy_content",
        ),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("0 < low AND low <= high AND high <= 1", name="thresholds"),
        CheckConstraint("min_coverage BETWEEN 0 AND 1", name="min_coverage"),
        CheckConstraint("min_peak_frames >= 1", name="min_peak_frames"),
    )  # fmt: skip

    id: Mapped[Id] = public_id(IdPrefix.POLICY)
    name: Mapped[str]
    version: Mapped[int]
    low: Mapped[float]
    high: Mapped[float]
    min_coverage: Mapped[float]
    min_peak_frames: Mapped[int]
    extrapolated: Mapped[bool] = mapped_column()

    def to_policy(self) -> Policy:
        """Return the value that the engine decides with."""
        return Policy(
            self.name,
            self.version,
            self.low,
            self.high,
            self.min_coverage,
            self.min_peak_frames,
            extrapolated=self.extrapolated,
        )


_CONTENT = ("name", "version", "low", "high", "min_coverage", "min_peak_frames", "extrapolated")
_HAS_CONTENT = and_(*(getattr(PolicyVersion, name) == bindparam(f"of_{name}") for name in _CONTENT))


def _read_content(policy: Policy, prefix: str = "") -> dict[str, object]:
    return {prefix + name: getattr(policy, name) for name in _CONTENT}


def ensure_policy(session: Session, policy: Policy) -> str:
    """Return the id of a policy with exactly this content, whose row is made if there is none."""
    content = _read_content(policy)
    wanted = select(PolicyVersion.id).filter_by(**content)
    found = session.scalar(wanted)
    if found is not None:
        return found
    made = session.scalar(
        insert(PolicyVersion).values(content).on_conflict_do_nothing().returning(PolicyVersion.id)
    )
    return made or session.scalars(wanted).one()


class TenantPolicy(TenantOwned, CreateTime, Base):
    """A version of a policy that a tenant has made for itself. It never changes; another is a new version."""

    __tablename__ = "tenant_policy"
    __table_args__ = (
        tenant_key(),
        UniqueConstraint("tenant_id", "name", "version"),
        CheckConstraint(f"length(name) BETWEEN 1 AND {NAME_LENGTH_MAX}", name="name"),
    )

    id: Mapped[Id] = public_id(IdPrefix.POLICY)
    name: Mapped[str]
    version: Mapped[int]
    policy_id: Mapped[Id] = mapped_column(ForeignKey("policy.id", ondelete="RESTRICT"))
    note: Mapped[str | None]


class PolicyUse(TenantOwned, CreateTime, Base):
    """With which policy a tenant judges from a moment on; null is with the one that each model brings."""

    __tablename__ = "policy_use"
    __table_args__ = (tenant_key(), Index(None, "tenant_id", "id"))

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    policy_id: Mapped[Id | None] = mapped_column(ForeignKey("policy.id", ondelete="RESTRICT"))
    actor: Mapped[str]


@dataclass(frozen=True)
class PolicyLine:
    """A policy as a tenant sees it. A preset has no id, time or note: its name is enough to find it.

    ``models`` are the ids of those that bring it, newest first. One that is no preset has time and note only
    where the tenant has made it.
    """

    id: str | None
    policy: Policy
    note: str | None = None
    create_time: datetime | None = None
    models: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name and version, as verdicts show them."""
        return write_label(self.policy)

    @property
    def is_preset(self) -> bool:
        """Whether it is one of those that every release has."""
        return self.id is None

    def is_judging(self, active: Policy | None) -> bool:
        """Whether new analyses are judged by it, be it those of some models, with that choice of a tenant."""
        return bool(self.models) if active is None else self.policy == active


def write_label(policy: Policy) -> str:
    """Return name and version, as verdicts show them."""
    return f"{policy.name}@{policy.version}"


def create_policy(
    session: Session, tenant_id: str, policy: Policy, note: str | None = None, *, actor: str
) -> PolicyLine:
    """Keep thresholds under a tenant's own name; the version given is replaced by the next of that name.

    Raises RequestRefused for the name of a preset or a model, and for a second version made at the same
    moment.
    """
    _check_name(session, policy.name)
    newest = session.scalar(
        select(func.max(TenantPolicy.version)).where(
            TenantPolicy.tenant_id == tenant_id, TenantPolicy.name == policy.name
        )
    )
    numbered = replace(policy, version=(newest or 0) + 1)
    row = insert(TenantPolicy).values(
        tenant_id=tenant_id,
        name=numbered.name,
        version=numbered.version,
        policy_id=ensure_policy(session, numbered),
        note=note,
    )
    made = session.execute(
        row.on_conflict_do_nothing().returning(TenantPolicy.id, TenantPolicy.create_time)
    ).one_or_none()
    if made is None:
        raise RequestRefused(
            Reason.STATE_CONFLICT,
            f"{numbered.name}@{numbered.version} was made at the same moment",
            "try again",
        )
    line = PolicyLine(made.id, numbered, note, made.create_time)
    record_audit(session, tenant_id=tenant_id, actor=actor, action="policy.created", subject=line.label)
    return line


def _check_name(session: Session, name: str) -> None:
    """Refuse names that verdicts already show for another rule."""
    if name in PRESETS:
        raise RequestRefused(
            Reason.INVALID_REQUEST,
            f"{name!r} is a preset",
            "choose another name; presets stay as they are",
        )
    if session.scalar(select(Model.id).where(Model.name == name).limit(1)) is not None:
        raise RequestRefused(
            Reason.INVALID_REQUEST,
            f"{name!r} is a model, and its own policy is called so",
            "choose another name",
        )


def find_model_policies(session: Session) -> Mapping[Policy, tuple[str, ...]]:
    """Return the policies that models bring, each with the ids of its models, newest model first.

    A model is missing of which no host has said by what it judges: that is not known.
    """
    said = session.execute(
        select(ModelPolicy.model_id, PolicyVersion).join(
            PolicyVersion, PolicyVersion.id == ModelPolicy.policy_id
        )
    )
    brought = {model_id: version.to_policy() for model_id, version in said}
    found: dict[Policy, tuple[str, ...]] = {}
    for model_id in session.scalars(select(Model.id).order_by(Model.create_time.desc(), Model.id.desc())):
        policy = brought.get(model_id)
        if policy is not None:
            found[policy] = (*found.get(policy, ()), model_id)
    return found


def list_policies(session: Session) -> list[PolicyLine]:
    """Return the presets, the models' own, and all versions of the tenant at hand, by name, newest first."""
    brought = find_model_policies(session)
    rows = session.execute(
        select(TenantPolicy, PolicyVersion)
        .join(PolicyVersion, PolicyVersion.id == TenantPolicy.policy_id)
        .order_by(TenantPolicy.name, TenantPolicy.version.desc())
    )
    presets = [PolicyLine(None, preset, models=brought.get(preset, ())) for preset in PRESETS.values()]
    models = [
        PolicyLine(ensured, policy, models=of)
        for policy, of in brought.items()
        if policy not in PRESETS.values() and (ensured := _find_id(session, policy)) is not None
    ]
    own = [PolicyLine(row.id, version.to_policy(), row.note, row.create_time) for row, version in rows]
    return [*presets, *models, *own]


def _find_id(session: Session, policy: Policy) -> str | None:
    return session.scalar(select(PolicyVersion.id).filter_by(**_read_content(policy)))


def find_policy_line(session: Session, name: str) -> PolicyLine | None:
    """Return a policy of the tenant at hand by its id, or by ``name``, which is the newest, or ``name@2``.

    Raises RequestRefused (STATE_CONFLICT) for a label that two rules bear, as where weights of one name bring
    others each, or a model came later under the name of a tenant's policy: only their ids tell them apart.
    """
    lines = list_policies(session)
    by_id = next((line for line in lines if line.id == name), None)
    if by_id is not None:
        return by_id
    bare, mark, version = name.partition("@")
    fits = [line for line in lines if line.policy.name == bare]
    wanted = int(version) if mark and version.isdecimal() and len(version) < 10 else None
    if not fits or (mark and wanted is None):
        return None
    newest = max(line.policy.version for line in fits) if wanted is None else wanted
    fits = [line for line in fits if line.policy.version == newest]
    if len(fits) > 1:
        raise RequestRefused(
            Reason.STATE_CONFLICT,
            f"{len(fits)} policies are called {bare}@{newest}",
            f"name the one that is meant by its id: {', '.join(str(line.id) for line in fits)}",
        )
    return fits[0] if fits else None


# The tenant's choice, and the policy that judges where it has made none: both or either may be missing.
_NEWEST_USE = (
    select(PolicyUse.policy_id)
    .where(PolicyUse.tenant_id == bindparam("tenant"))
    .order_by(PolicyUse.id.desc())
    .limit(1)
    .scalar_subquery()
)
_NEWEST_ID = (
    select(func.max(PolicyUse.id)).where(PolicyUse.tenant_id == bindparam("tenant")).scalar_subquery()
)
_CANDIDATES = select(
    PolicyVersion, (PolicyVersion.id == _NEWEST_USE).label("is_chosen"), _NEWEST_ID.label("use_id")
)
_CHOSEN = _CANDIDATES.where(PolicyVersion.id == _NEWEST_USE)
_CHOSEN_OR_GIVEN = _CANDIDATES.where(or_(PolicyVersion.id == _NEWEST_USE, _HAS_CONTENT))
# What is read of the choice must be read by a later statement than the one that holds it.
_HOLD = text("SELECT pg_advisory_xact_lock_shared(:lock, hashtext(:tenant))")


def show_active_policy(session: Session, tenant_id: str) -> Policy | None:
    """Return the policy that a tenant judges with, for who only looks; None where each model's own does."""
    found = session.execute(_CHOSEN, {"tenant": tenant_id}).one_or_none()
    return None if found is None else found[0].to_policy()


@dataclass(frozen=True)
class OfModels:
    """A policy for the analyses of some models, in place of the one that judges all others."""

    policy: Policy
    model_ids: tuple[str, ...]


@dataclass(frozen=True)
class Judge:
    """By which policy a verdict is given, and in which use of one by its tenant; 0 is before the first.

    ``is_chosen`` where the tenant has chosen it, and not the model brought it. ``others`` judge analyses of
    some models in its place, by the ids of these policies. Analyses of the models ``kept`` are judged by none
    of them, and stay as they stand.
    """

    policy_id: str
    policy: Policy
    use_id: int
    is_chosen: bool = True
    others: Mapping[str, OfModels] = field(default_factory=dict[str, OfModels])
    kept: tuple[str, ...] = ()

    def find_policy(self, model_id: str) -> Policy:
        """Return the policy that judges the analyses of a model."""
        named = (each.policy for each in self.others.values() if model_id in each.model_ids)
        return next(named, self.policy)


def choose_policy(session: Session, tenant_id: str, given: Policy) -> Judge:
    """Return the policy that judges for a tenant, for who writes a verdict.

    It is the tenant's own choice, else the given one. Waits for a change of it that is being made, and holds
    the next one back until this transaction ends: an analysis is judged either by the policy before the
    change, and again by the change, or by the new one.
    """
    _hold(session, tenant_id)
    found = session.execute(_CHOSEN_OR_GIVEN, {"tenant": tenant_id, **_read_content(given, "of_")}).all()
    if not found:
        use_id = _find_use(session, tenant_id) or 0
        return Judge(ensure_policy(session, given), given, use_id, is_chosen=False)
    for version, is_chosen, use_id in found:
        if is_chosen:
            return Judge(version.id, version.to_policy(), use_id)
    version, _, use_id = found[0]
    return Judge(version.id, given, use_id or 0, is_chosen=False)


def _hold(session: Session, tenant_id: str) -> None:
    session.connection().execute(_HOLD, {"lock": _LOCK, "tenant": tenant_id})


def hold_policy(session: Session, tenant_id: str) -> int | None:
    """Keep a tenant's policy from changing until the transaction ends; return which use of one it is."""
    _hold(session, tenant_id)
    return _find_use(session, tenant_id)


def _find_use(session: Session, tenant_id: str) -> int | None:
    return session.scalar(select(func.max(PolicyUse.id)).where(PolicyUse.tenant_id == tenant_id))


def begin_judging(session: Session, tenant_id: str, *, actor: str) -> int:
    """Keep the tenant's choice as it is, and say that a change of history begins; return which use it is now.

    A change that began before and still runs finds itself overtaken, and stops.
    """
    session.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(tenant_id))))
    newest = select(PolicyUse.policy_id).where(PolicyUse.tenant_id == tenant_id)
    policy_id = session.scalar(newest.order_by(PolicyUse.id.desc()).limit(1))
    row = insert(PolicyUse).values(tenant_id=tenant_id, policy_id=policy_id, actor=actor)
    return session.scalars(row.returning(PolicyUse.id)).one()


def activate_policy(session: Session, tenant_id: str, policy: Policy | None, *, actor: str) -> int:
    """Judge a tenant's analyses with a policy from now on; None is with the one that each model brings.

    Returns which use of a policy this is, until the next one.
    """
    session.execute(select(func.pg_advisory_xact_lock(_LOCK, func.hashtext(tenant_id))))
    policy_id = None if policy is None else ensure_policy(session, policy)
    row = insert(PolicyUse).values(tenant_id=tenant_id, policy_id=policy_id, actor=actor)
    return session.scalars(row.returning(PolicyUse.id)).one()
