"""Which requests are allowed, and what browsers may do with an answer."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "refusal"]

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Let those requests through that may be answered, and add headers to every answer.

    Without a token, the Host header must name this machine: a page elsewhere whose name is made to
    point here (DNS rebinding) has another. With a token, requests to the API must carry it.

    Parameters
    ----------
    app : ASGIApp
    token : str or None
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._refusal(scope) or self._app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._token is None:
            if _name_in(headers.get("host", "")) not in LOCAL_NAMES:
                return refusal(421, f"The Host header must be one of {', '.join(LOCAL_NAMES)}.")
        elif scope["path"].startswith("/api/"):
            kind, _, given = headers.get("authorization", "").partition(" ")
            equal = hmac.compare_digest(given.strip().encode(), self._token.encode())
            if kind.lower() != "bearer" or not equal:
                return refusal(
                    401,
                    "The header Authorization must be Bearer and the token.",
                    {"WWW-Authenticate": "Bearer"},
                )
        return None


def refusal(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """Return an answer that says why the request is refused."""
    return JSONResponse({"error": sentence}, status, headers)


def _name_in(host: str) -> str:
    """Return a Host header without the port."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).lower()
