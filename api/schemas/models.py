"""Models on the wire: cards, uses, comparisons, and orders to score again."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from api.schemas.analyses import Share
from api.schemas.policies import FilterBody, MoveOut
from api.schemas.shape import Answer, Bool, Int, Request, Time
from engine.results import VerdictValue
from fakesieve.jobs.states import Lane
from fakesieve.values.models import ModelAlias

RESCORE_MAX = 10_000


class ModelOut(Answer):
    """A set of weights. ``hosts`` counts running worker hosts that score with it now."""

    object: Literal["model"] = "model"
    id: str
    name: str
    weights_sha256: str
    create_time: Time
    aliases: list[ModelAlias]
    hosts: int
    card: Annotated[
        dict[str, JsonValue] | None,
        Field(description="Training data, error rates and the like; null before a host ran it."),
    ]


class PromoteBody(Request):
    """What a model is used for."""

    alias: ModelAlias = ModelAlias.CHAMPION


class RollBackBody(Request):
    """Which use goes back to the model before."""

    alias: ModelAlias = ModelAlias.CHAMPION
    dry_run: Annotated[Bool, Field(description="Only say from which model it would go back to which.")] = (
        False
    )


class LeftModelOut(Answer):
    """The model that a use leaves."""

    id: str
    name: str
    weights_sha256: str


class RolledBackOut(ModelOut):
    """The model that a use goes back to, and the one that it leaves."""

    alias: Annotated[ModelAlias, Field(description="The use that goes back.")]
    from_model: Annotated[LeftModelOut, Field(description="The model that it leaves.")]
    is_done: Annotated[bool, Field(description="False where `dry_run` only asked.")]


class FlipOut(Answer):
    """One video of which two models lead to different verdicts."""

    video_id: str
    base_id: str
    other_id: str
    base: VerdictValue | None
    other: VerdictValue | None
    base_score: Share | None
    other_score: Share | None


class ComparisonOut(Answer):
    """Two models over the videos that both have judged; ``before`` is the base's verdict."""

    object: Literal["model_comparison"] = "model_comparison"
    base: str
    other: str
    videos: int
    flip_count: int
    counts: list[MoveOut]
    mean_difference: Annotated[float | None, Field(description="Mean of other's score - base's.")]
    mean_distance: Annotated[float | None, Field(description="Mean of its size.")]
    flips: Annotated[list[FlipOut], Field(description="The first of them, farthest apart first.")]


class RescoreBody(Request):
    """Which videos are to be scored again, and by which model."""

    model: Annotated[
        str, Field(min_length=1, max_length=100, description="Id, or `challenger` and the like.")
    ]
    filter: FilterBody = None
    lane: Lane = Lane.BULK
    videos_max: Annotated[
        Int, Field(ge=1, le=RESCORE_MAX, description="Jobs at most; videos out of reach do not count.")
    ] = 1000
    dry_run: Annotated[Bool, Field(description="Only count.")] = False


class RescoreOut(Answer):
    """Jobs to score videos again. ``batch_id`` is null where nothing was started."""

    object: Literal["rescore"] = "rescore"
    model_id: str
    videos: Annotated[
        int, Field(description="Videos that fit and that the model has not scored yet, without `live`.")
    ]
    unreachable: Annotated[
        int,
        Field(description="Of these, videos whose object the tenant may not name now, or that is not there."),
    ]
    unreachable_video_ids: Annotated[list[str], Field(description="The first 100 of them.")]
    live: Annotated[int, Field(description="Videos that are left out, as one of their jobs waits or runs.")]
    is_whole: Annotated[
        bool,
        Field(
            description="False where counting stopped after 60,000 videos, or after 15 seconds, before it had"
            " as many as are wanted: more may fit. A narrower filter comes to those."
        ),
    ]
    hosts: Annotated[int, Field(description="Running hosts with the model.")]
    other_hosts: Annotated[int, Field(description="Running hosts with another, or with one that is unknown.")]
    can_run: Annotated[bool, Field(description="Whether every running host has the model.")]
    batch_id: str | None
