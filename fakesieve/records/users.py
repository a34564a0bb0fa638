"""Tables of people who sign in, and their sessions. What is done with them is in ``fakesieve/people``."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, false, func, text
from sqlalchemy.orm import Mapped, mapped_column

from fakesieve.ids import IdPrefix
from fakesieve.records.table import (
    Base,
    CreateTime,
    Id,
    JsonObject,
    TenantOwned,
    choice,
    public_id,
    tenant_key,
)
from fakesieve.values.people import UserRole


class AppUser(TenantOwned, CreateTime, Base):
    """A person of a tenant. Without a password hash they sign in through their identity provider alone."""

    __tablename__ = "app_user"
    __table_args__ = (
        tenant_key(),
        UniqueConstraint("tenant_id", "email"),
        UniqueConstraint("tenant_id", "oidc_issuer", "oidc_subject"),
        CheckConstraint("email = lower(email) AND strpos(email, '@') > 1", name="email"),
        CheckConstraint("(oidc_issuer IS NULL) = (oidc_subject IS NULL)", name="oidc"),
        CheckConstraint("failures >= 0", name="failures"),
    )

    id: Mapped[Id] = public_id(IdPrefix.USER)
    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[UserRole] = mapped_column(choice(UserRole))
    password_hash: Mapped[str | None]
    oidc_issuer: Mapped[str | None]
    oidc_subject: Mapped[str | None]
    preferences: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))  # how pages look to them
    is_disabled: Mapped[bool] = mapped_column(server_default=false())
    # Since the last success, from addresses that are not known; while it is shut, it is so for those alone.
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    locked_until: Mapped[datetime | None]


class KnownAddress(TenantOwned, Base):
    """An address of the network from which a person has signed in, as a hash that is theirs alone.

    Wrong passwords that come from elsewhere do not keep them out there.
    """

    __tablename__ = "known_address"
    __table_args__ = (
        CheckConstraint("address_sha256 ~ '^[0-9a-f]{64}$'", name="address_sha256"),
        CheckConstraint("failures >= 0", name="failures"),
    )

    user_id: Mapped[Id] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"), primary_key=True)
    address_sha256: Mapped[str] = mapped_column(primary_key=True)
    use_time: Mapped[datetime] = mapped_column(server_default=func.now())
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # since the last success


class AppSession(TenantOwned, CreateTime, Base):
    """A person who is signed in. The token is theirs alone; here is its hash."""

    __tablename__ = "app_session"
    __table_args__ = (
        CheckConstraint("token_sha256 ~ '^[0-9a-f]{64}$'", name="token_sha256"),
        Index(None, "user_id"),
        Index(None, "expire_time"),
    )

    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[Id] = mapped_column(ForeignKey("app_user.id", ondelete="CASCADE"))
    use_time: Mapped[datetime] = mapped_column(server_default=func.now())
    expire_time: Mapped[datetime]
