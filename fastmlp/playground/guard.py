"""Who is served: pages that this server itself delivered, and nobody else.

The header Host must name this server, which foils the rebinding of names, and a header Origin must
name the same.
"""

from __future__ import annotations

import ipaddress
import socket

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "is_loopback"]


class Guard:
    """Middleware that refuses, with HTTP 403, requests that do not come from our own page.

    Parameters
    ----------
    app : ASGI application
        Gets the other requests.
    host : str
        The name or address that the server listens on.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app, self.host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve or refuse one request.

        Parameters
        ----------
        scope, receive, send
            As ASGI has them.
        """
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        is_ours = len(hosts) == 1 and self._is_our_name(_without_port(hosts[0]))
        if not is_ours or any(origin != f"http://{hosts[0]}" for origin in origins):
            if scope["type"] == "http":
                await PlainTextResponse("Forbidden", 403)(scope, receive, send)
            else:  # not accepted yet: the server answers with 403
                await send({"type": "websocket.close", "code": 1008})
            return
        await self.app(scope, receive, _with_headers(send, hosts[0]))

    def _is_our_name(self, name: str) -> bool:
        if name in ("localhost", self.host):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name == socket.gethostname() and not is_loopback(self.host)
        # A foreign name may be made to lead here, a number cannot stand for anything else.
        return address.is_loopback or not is_loopback(self.host)


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).strip("[]").lower()


def is_loopback(host: str) -> bool:
    """Return whether a name or address can be reached from this machine alone.

    Parameters
    ----------
    host : str
        Name or address.

    Returns
    -------
    bool
        Whether it is ``localhost`` or a loopback address.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _with_headers(send: Send, host: str) -> Send:
    """Wrap `send` so that every response says what the page may do: next to nothing."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    extra = {
        "content-security-policy": policy,
        "cache-control": "no-cache",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            added = [(name.encode(), value.encode("latin-1")) for name, value in extra.items()]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return wrapped
