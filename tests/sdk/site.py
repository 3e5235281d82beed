"""What an application of the Calls API has around it: a gateway, its model, and a webhook."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.peers.gateway import HOST, GatewayProcess
from tests.peers.line import RealtimeThread
from tests.sdk.model import model
from tests.sdk.phone import CallingPhone
from tests.sdk.webhooks import WebhookReceiver

KEY = "sk-the-first-key"
OTHER_KEY = "sk-another-key"
SECRET = "whsec_c2l4dGVlbiBieXRlcyBhdCBsZWFzdCwgYW5kIG1vcmU="
OLD_SECRET = "whsec_dGhlIHNlY3JldCBvZiB0aGUgd2VlayBiZWZvcmUsIHN0aWxs"


@dataclass
class Site:
    """One gateway that several tests use, one call after the other."""

    gateway: GatewayProcess
    hooks: WebhookReceiver
    realtime: RealtimeThread | None
    """The model; None when it is the embedded agent."""
    secure: bool = False

    @property
    def base_url(self) -> str:
        scheme = "https" if self.secure else "http"
        return f"{scheme}://{HOST}:{self.gateway.http_port}/v1"

    @property
    def socket_url(self) -> str:
        return self.base_url.replace("http", "ws", 1) + "/realtime"

    def phone(self, **options: Any) -> CallingPhone:
        """A caller; use as a context manager."""
        return CallingPhone(self.gateway.sip, **options)

    def ended(self, call_id: str) -> dict[str, Any]:
        """The record of a call, when it is over."""
        return self.gateway.wait_for("call.ended", call_id=call_id)


@contextmanager
def running(
    *, embedded: bool = False, tls: tuple[str, str] | None = None, **more: str
) -> Iterator[Site]:
    """A gateway that asks a webhook about every call.

    Args:
        embedded: the model is the embedded agent.
        tls: certificate and key, as files; https then.
        more: further `GATEWAY_` variables.
    """
    with WebhookReceiver() as hooks:
        env = {
            "GATEWAY_API_KEYS": f"{KEY},{OTHER_KEY}",
            "GATEWAY_WEBHOOK_URL": hooks.url,
            "GATEWAY_WEBHOOK_SECRET": f"{SECRET},{OLD_SECRET}",
            **more,
        }
        if tls is not None:
            env |= {"GATEWAY_HTTP_TLS_CERT": tls[0], "GATEWAY_HTTP_TLS_KEY": tls[1]}
        if embedded:
            with GatewayProcess(env=env) as gateway:
                yield Site(gateway, hooks, None, tls is not None)
        else:
            with RealtimeThread(model) as realtime, GatewayProcess(realtime.url, env) as gateway:
                yield Site(gateway, hooks, realtime, tls is not None)
