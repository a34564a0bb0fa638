"""Webhooks: where to tell what happened, and the log of it."""

from collections.abc import Iterator, Sequence

from api.calls.bodies import write_body
from api.calls.paths import fill_path
from api.calls.sender import Sender, read_json, read_shape
from api.schemas.webhooks import DeliveryOut, NewWebhookOut, RotateBody, SecretOut, WebhookBody, WebhookOut
from fakesieve.values.webhooks import OVERLAP_S, DeliveryState, EventType


class Webhooks:
    """Endpoints and deliveries."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def create(self, url: str, event_types: Sequence[EventType] = (), description: str = "") -> NewWebhookOut:
        """Make an endpoint; its secret is shown this once. No types means all of them."""
        body = WebhookBody(url=url, event_types=list(event_types), description=description)
        return self._sender.post("/v1/webhooks", NewWebhookOut, write_body(body))

    def iter(self) -> Iterator[WebhookOut]:
        """Yield the endpoints."""
        return self._sender.pages("/v1/webhooks", WebhookOut)

    def get(self, webhook_id: str) -> WebhookOut:
        """Return one endpoint."""
        return self._sender.get(fill_path("/v1/webhooks/{}", webhook_id), WebhookOut)

    def change(
        self, webhook_id: str, url: str, event_types: Sequence[EventType] = (), description: str = ""
    ) -> WebhookOut:
        """Replace address, types and description of an endpoint, what is left out too; the secret stays."""
        body = WebhookBody(url=url, event_types=list(event_types), description=description)
        answer = self._sender.send("PUT", fill_path("/v1/webhooks/{}", webhook_id), body=write_body(body))
        return read_shape(WebhookOut, read_json(answer))

    def remove(self, webhook_id: str) -> None:
        """Remove an endpoint with the log of its deliveries."""
        self._sender.delete(fill_path("/v1/webhooks/{}", webhook_id))

    def enable(self, webhook_id: str) -> WebhookOut:
        """Switch an endpoint on again."""
        return self._sender.post(fill_path("/v1/webhooks/{}:enable", webhook_id), WebhookOut)

    def disable(self, webhook_id: str) -> WebhookOut:
        """Switch an endpoint off."""
        return self._sender.post(fill_path("/v1/webhooks/{}:disable", webhook_id), WebhookOut)

    def rotate(self, webhook_id: str, overlap_s: int = OVERLAP_S) -> SecretOut:
        """Make another secret, which is shown this once; both sign until the overlap has passed."""
        body = write_body(RotateBody(overlap_s=overlap_s))
        return self._sender.post(fill_path("/v1/webhooks/{}:rotate", webhook_id), SecretOut, body)

    def test(self, webhook_id: str) -> DeliveryOut:
        """Send a message to try an endpoint out."""
        return self._sender.post(fill_path("/v1/webhooks/{}:test", webhook_id), DeliveryOut)

    def deliveries(
        self, webhook_id: str | None = None, state: DeliveryState | None = None
    ) -> Iterator[DeliveryOut]:
        """Yield deliveries with all their tries, newest first."""
        query = {"webhook_id": webhook_id, "state": state}
        return self._sender.pages("/v1/webhooks/deliveries", DeliveryOut, query)

    def delivery(self, delivery_id: str) -> DeliveryOut:
        """Return one delivery."""
        return self._sender.get(fill_path("/v1/webhooks/deliveries/{}", delivery_id), DeliveryOut)

    def redeliver(self, delivery_id: str) -> DeliveryOut:
        """Send an ended delivery again, under its old id."""
        return self._sender.post(fill_path("/v1/webhooks/deliveries/{}:redeliver", delivery_id), DeliveryOut)
