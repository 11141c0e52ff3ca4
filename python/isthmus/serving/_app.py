"""The application: routes, threads that compute, and the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from threadpoolctl import threadpool_limits

from isthmus._util.threads import resolve_num_threads
from isthmus.serving._explorer import Explorer, UnknownId
from isthmus.serving._guard import Guard, refusal
from isthmus.serving._openapi import DESCRIPTION
from isthmus.serving._reloading import Reloading
from isthmus.serving._requests import MAX_BODY, asked_in_body, asked_in_query, read_query

__all__ = ["make_app"]

MAX_WAITING = 4_096
"""Requests that wait for a thread; more are refused."""

BODY_SECONDS = 10
"""How long a client may take to send a request's body."""

STATIC = Path(__file__).parent / "static"
MEDIA = {
    "index.html": "text/html",
    "app.js": "text/javascript",
    "map.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}

LISTING = ("n", "candidates", "exclude", "exclude_seen", "order")


class _Refused(Exception):
    """A request that is refused with a status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Service:
    """Answer the API's requests, each by a thread of a pool."""

    def __init__(self, explorer: Reloading[Explorer], num_threads: int) -> None:
        self._explorer = explorer
        self._pool = ThreadPoolExecutor(num_threads, "isthmus-serving")
        self._waiting = 0

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        # BLAS would start as many threads for each thread of the pool
        with threadpool_limits(1):
            watching = asyncio.create_task(self._explorer.watch())
            yield
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def about(self, _: Request) -> Response:
        return _answer(self._explorer.current.about())

    async def recommend(self, request: Request) -> Response:
        if request.method == "GET":
            asked = asked_in_query(request.query_params.multi_items(), ("user",), LISTING)
        else:
            asked = asked_in_body(await _body(request), ("history",), LISTING)
        return await self._compute(self._explorer.current.recommend, asked)

    async def explain(self, request: Request) -> Response:
        if request.method == "GET":
            asked = asked_in_query(request.query_params.multi_items(), ("user", "item"), ("n",))
        else:
            asked = asked_in_body(await _body(request), ("history", "item"), ("n",))
        return await self._compute(self._explorer.current.explain, asked)

    async def similar(self, request: Request) -> Response:
        asked = asked_in_query(request.query_params.multi_items(), ("item",), ("n",))
        return await self._compute(self._explorer.current.similar, asked.item, asked.n)

    async def search(self, request: Request) -> Response:
        words = read_query(request.query_params.multi_items())
        return await self._compute(self._explorer.current.search, *words)

    async def item_map(self, _: Request) -> Response:
        return Response(self._explorer.current.item_map, media_type="application/json")

    async def _compute(self, function: Callable[..., dict[str, Any]], *args: Any) -> Response:
        if self._waiting >= MAX_WAITING:
            raise _Refused(503, "There are too many requests at once; try again later.")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return _answer(await loop.run_in_executor(self._pool, partial(function, *args)))
        finally:
            self._waiting -= 1


def make_app(
    model: Path, items: Path | None, *, token: str | None, num_threads: int, reload_seconds: float
) -> Guard:
    """Make the application; see `isthmus.serving.create_app`."""
    files = [model] if items is None else [model, items]
    explorer = Reloading(partial(Explorer, model, items), files, reload_seconds)
    service = _Service(explorer, resolve_num_threads(num_threads))
    pages = [
        Route("/" if name == "index.html" else f"/{name}", _page(name, kind))
        for name, kind in MEDIA.items()
    ]
    app = Starlette(
        routes=[
            *pages,
            Route("/healthz", _healthz),
            Route("/api/openapi.json", _openapi),
            Route("/api/model", service.about),
            Route("/api/recommend", service.recommend, methods=["GET", "POST"]),
            Route("/api/explain", service.explain, methods=["GET", "POST"]),
            Route("/api/similar", service.similar),
            Route("/api/items", service.search),
            Route("/api/map", service.item_map),
        ],
        exception_handlers={
            _Refused: _refused,
            HTTPException: _http_error,
            ValueError: _bad_request,
            TypeError: _bad_request,
            ClientDisconnect: _gone,
            Exception: _internal_error,
        },
        lifespan=service.running,
    )
    app.router.redirect_slashes = False
    # outermost, so that errors have its headers too
    return Guard(app, token)


async def _healthz(_: Request) -> Response:
    return _answer({"status": "ok"})


async def _openapi(_: Request) -> Response:
    return _answer(DESCRIPTION)


def _page(name: str, kind: str) -> Callable[[Request], Any]:
    content = (STATIC / name).read_bytes()

    async def page(_: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return page


async def _body(request: Request) -> bytes:
    """Read a body of JSON, which may be as long, and take as long, as is allowed."""
    # no page of another site can send this without a preflight request
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _Refused(415, "The header Content-Type must be application/json.")
    body = bytearray()
    with anyio.move_on_after(BODY_SECONDS):
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                raise _Refused(413, f"The body must have at most {MAX_BODY:,} bytes.")
        return bytes(body)
    raise _Refused(408, f"The body must be there within {BODY_SECONDS} seconds.")


def _answer(content: dict[str, Any]) -> Response:
    return JSONResponse(content, headers={"Cache-Control": "no-store"})


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, _Refused)
    headers = {"Retry-After": "1"} if error.status == 503 else None
    return refusal(error.status, str(error), headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {
        404: "There is nothing at this address.",
        405: f"{request.method} must not be used at this address.",
    }
    sentence = sentences.get(error.status_code, error.detail)
    return refusal(error.status_code, sentence, dict(error.headers or {}))


async def _bad_request(request: Request, error: Exception) -> Response:
    in_address = request.method == "GET" and isinstance(error, UnknownId)
    return refusal(404 if in_address else 400, " ".join(str(error).split()))


async def _gone(_: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _internal_error(_: Request, error: Exception) -> Response:
    return refusal(500, "The server made a mistake, which its log describes.")
