"""The action `webhook`: a POST for each event, signed as in Standard Webhooks (https://www.standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
import time

import requests

from facemask.core.errors import UserError
from facemask.watch.actions.event_receiver import DeliveryError, EventReceiver
from facemask.watch.outbox import Waiting
from facemask.watch.watch_config import Webhook


class WebhookReceiver(EventReceiver):
    """Posts events. A status of 2xx confirms one; redirects are not followed."""

    def __init__(self, url: str, key: bytes | None, timeout: float) -> None:
        """Post to `url` with a time limit in seconds; sign with `key`."""
        self._url, self._key, self._timeout = url, key, timeout
        self._session = requests.Session()

    def deliver(self, event: Waiting) -> None:
        """See `EventReceiver.deliver`."""
        body = event.payload.encode()
        headers = {"Content-Type": "application/json", "User-Agent": "facemask-watch", "webhook-id": event.event_id}
        headers["webhook-timestamp"] = str(int(time.time()))
        if self._key is not None:
            headers["webhook-signature"] = sign(self._key, event.event_id, headers["webhook-timestamp"], body)
        try:
            with self._session.post(
                self._url, data=body, headers=headers, timeout=self._timeout, allow_redirects=False, stream=True
            ) as answer:
                status = answer.status_code
        except requests.RequestException as error:
            raise DeliveryError(type(error).__name__) from None
        if not 200 <= status < 300:
            raise DeliveryError(f"status {status}", refused=True)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def sign(key: bytes, event_id: str, timestamp: str, body: bytes) -> str:
    """The signature of a message: `v1,` and the base64 of the HMAC-SHA256 of id, timestamp and body, joined by dots."""
    digest = hmac.new(key, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def open_webhook(action: Webhook) -> WebhookReceiver:
    """Open the action. Raises a UserError if its URL or its secret cannot be read. Sends nothing yet."""
    url = action.url.read()
    try:
        requests.Request("POST", url).prepare()
    except (requests.RequestException, ValueError):
        raise UserError(
            f"the action {action.name}: its url is not a URL that begins with http:// or https://."
        ) from None
    return WebhookReceiver(url, _key_of(action), action.timeout)


def _key_of(action: Webhook) -> bytes | None:
    if action.secret is None:
        return None
    secret = action.secret.read()
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise UserError(
            f"the action {action.name}: its secret begins with whsec_, but base64 does not follow."
        ) from None
