"""Videos: what is known of them, how long they stay, and how they leave."""

from collections.abc import Iterator, Mapping

from api.calls.bodies import write_body
from api.calls.paths import fill_path
from api.calls.sender import Sender, read_json, read_shape
from api.calls.unreachable import unreadable
from api.schemas.erasure import EraseBody, ErasureOut, RetentionBody, RetentionOut, VideoFateOut
from api.schemas.videos import ChangeVideoBody, VideoOut


class Videos:
    """The bytes of videos, once for a tenant however often they were submitted."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def get(self, video_id: str) -> VideoOut:
        """Return a video with the places where it was seen."""
        return self._sender.get(fill_path("/v1/videos/{}", video_id), VideoOut)

    def get_with_etag(self, video_id: str) -> tuple[VideoOut, str]:
        """Return a video and the ETag that :meth:`change` can be bound to.

        Raises ``ApiUnreachable`` (INTERNAL) where something on the way has taken the ETag off.
        """
        answer = self._sender.send("GET", fill_path("/v1/videos/{}", video_id))
        shown, etag = read_shape(VideoOut, read_json(answer)), answer.headers.get("etag")
        if etag is None:
            hint = "see what takes the ETag off answers between here and the API"
            raise unreadable(f"the answer about {video_id} came without its ETag", hint)
        return shown, etag

    def iter(self, content_sha256: str | None = None, external_id: str | None = None) -> Iterator[VideoOut]:
        """Yield videos, newest first."""
        query = {"content_sha256": content_sha256, "external_id": external_id}
        return self._sender.pages("/v1/videos", VideoOut, query)

    def change(
        self,
        video_id: str,
        *,
        external_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        if_match: str | None = None,
    ) -> VideoOut:
        """Say something of a video; what is left out stays, ``tags`` replaces all that there are.

        With ``if_match``, an ETag that was read, only if nobody said anything of it meanwhile. Raises
        ``ApiProblem``: PRECONDITION_FAILED where somebody did; where it ``may_be_done``, perhaps this call,
        in a try whose answer was lost.
        """
        body = ChangeVideoBody(external_id=external_id, tags=None if tags is None else dict(tags))
        headers = None if if_match is None else {"If-Match": if_match}
        answer = self._sender.send(
            "PATCH", fill_path("/v1/videos/{}", video_id), body=write_body(body), headers=headers
        )
        return read_shape(VideoOut, read_json(answer))

    def delete(self, video_id: str, purge_s: int | None = None) -> VideoFateOut:
        """Hide a video and all that was found in it; until its purge it can be taken back."""
        answer = self._sender.send("DELETE", fill_path("/v1/videos/{}", video_id), query={"purge_s": purge_s})
        return read_shape(VideoFateOut, read_json(answer))

    def undelete(self, video_id: str) -> VideoFateOut:
        """Bring a deleted video back."""
        return self._sender.post(fill_path("/v1/videos/{}:undelete", video_id), VideoFateOut)

    def hold(self, video_id: str) -> VideoFateOut:
        """Put a video under a legal hold: nothing deletes it."""
        return self._sender.post(fill_path("/v1/videos/{}:hold", video_id), VideoFateOut)

    def lift_hold(self, video_id: str) -> VideoFateOut:
        """Lift a legal hold."""
        return self._sender.post(fill_path("/v1/videos/{}:lift_hold", video_id), VideoFateOut)

    def classify(self, video_id: str, retention_class: str | None) -> VideoFateOut:
        """Put a video into a retention class, or into none."""
        body = {"retention_class": retention_class}
        return self._sender.post(fill_path("/v1/videos/{}:classify", video_id), VideoFateOut, body)

    def erase(self, video_id: str, *, with_sources: bool = False) -> ErasureOut:
        """Erase a video from every store; ``running`` until each has said that it is gone."""
        body = write_body(EraseBody(with_sources=with_sources))
        return self._sender.post(fill_path("/v1/videos/{}:erase", video_id), ErasureOut, body)

    def erasure(self, erasure_id: str) -> ErasureOut:
        """Return an erasure; once completed, its receipt."""
        return self._sender.get(fill_path("/v1/erasures/{}", erasure_id), ErasureOut)

    def erasures(self, video_id: str | None = None) -> Iterator[ErasureOut]:
        """Yield erasures, newest first."""
        return self._sender.pages("/v1/erasures", ErasureOut, {"video_id": video_id})

    def retention(self) -> Iterator[RetentionOut]:
        """Yield the retention classes."""
        return self._sender.pages("/v1/retention-classes", RetentionOut)

    def set_retention(self, name: str, keep_s: int) -> RetentionOut:
        """Say how long a class keeps videos."""
        body = write_body(RetentionBody(keep_s=keep_s))
        answer = self._sender.send("PUT", fill_path("/v1/retention-classes/{}", name), body=body)
        return read_shape(RetentionOut, read_json(answer))

    def remove_retention(self, name: str) -> None:
        """Remove a class; its videos have the default one then."""
        self._sender.delete(fill_path("/v1/retention-classes/{}", name))
