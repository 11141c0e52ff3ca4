"""A model on the web: an API, and a page to explore it; needs the extra `serve`."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from isthmus._util.checks import check_integer, check_real

__all__ = ["create_app", "serve"]

SHORTEST_TOKEN = 16

KEEP_ALIVE = 75
"""Seconds for which a connection may be idle: longer than proxies keep theirs, which would
otherwise send a request over one that is being closed."""


def create_app(
    model: str | PathLike[str],
    *,
    items: str | PathLike[str] | None = None,
    token: str | None = None,
    num_threads: int = 0,
    reload_seconds: float = 1.0,
) -> Any:
    """Make an ASGI application of a model file, for a server of your own; see `serve`.

    Parameters
    ----------
    model : str or os.PathLike
        What `Recommender.save` wrote.
    items : str or os.PathLike, optional
        File with the items' titles, as `read_items` takes it; further columns are shown below them.
        Without it, items are called by their ids.
    token : str, optional
        Of at least 16 visible ASCII characters. Requests to the API must carry it. Without one,
        only requests that name this machine (localhost, 127.0.0.1, [::1]) are answered.
    num_threads : int, default 0
        Requests to compute at once, each by one thread; 0: as many as this process may use.
    reload_seconds : float, default 1.0
        How often to look whether the files were replaced. They are then read again, while
        the old model goes on answering; one that cannot be read is reported in the log
        ``isthmus.serving``, and the old one stays.

    Returns
    -------
    ASGI application
        With a lifespan, which the server has to run.

    Raises
    ------
    ImportError
        Without Starlette: ``pip install 'isthmus[serve]'``.
    FileNotFoundError, TypeError, ValueError
        If a file cannot be read, or an argument is not as above.

    Examples
    --------
    >>> from isthmus import EASE, synthetic_ratings
    >>> EASE().fit(synthetic_ratings(50, 20, 300)).save("m.safetensors")
    >>> app = create_app("m.safetensors")  # doctest: +SKIP
    """
    check_integer("num_threads", num_threads, low=0)
    check_real("reload_seconds", reload_seconds, low=0, open_low=True)
    _check_token(token)
    with _naming_extra():
        from isthmus.serving._app import make_app
    return make_app(
        Path(model),
        None if items is None else Path(items),
        token=token,
        num_threads=num_threads,
        reload_seconds=reload_seconds,
    )


def serve(
    model: str | PathLike[str],
    *,
    items: str | PathLike[str] | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    num_threads: int = 0,
    started: Callable[[str], None] = print,
) -> None:
    """Answer requests until Ctrl-C.

    Parameters
    ----------
    model, items, token, num_threads
        As for `create_app`.
    host : str, default "127.0.0.1"
        Address to listen at. One that other machines can reach needs a token.
    port : int, default 8000
        0 takes one that is free.
    started : callable, default print
        Called with the page's address once it can be opened.

    Raises
    ------
    ImportError, FileNotFoundError, TypeError, ValueError
        As `create_app` does; ValueError as well without the token that the host needs.
    OSError
        If the server cannot listen at the address, as when another program does.
    """
    check_integer("port", port, low=0, high=65_535)
    if token is None and not _is_loopback(host):
        raise ValueError(f"token must be given for the host {host}, which others may reach.")
    app = create_app(model, items=items, token=token, num_threads=num_threads)
    with _naming_extra():
        import uvicorn
    with listening(host, port) as listener:
        address = f"[{host}]" if ":" in host else host
        started(f"http://{address}:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level=logging.WARNING,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=5,
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def _naming_extra() -> Any:
    try:
        yield
    except ImportError as error:
        raise ImportError(
            "serving needs Starlette and uvicorn: pip install 'isthmus[serve]'"
        ) from error


def _check_token(token: Any) -> None:
    if token is None:
        return
    visible = isinstance(token, str) and token.isascii() and token.isprintable()
    if not visible or " " in token or len(token) < SHORTEST_TOKEN:
        raise ValueError(
            f"token must be at least {SHORTEST_TOKEN} visible ASCII characters, but it was not."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address."""
    try:
        # with the protocol, so that asyncio knows that it is TCP, and does not delay small writes
        # (Nagle's algorithm)
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":  # elsewhere it would share the port with another program
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen()
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise OSError(f"{host}, port {port}, cannot be listened at: {error.strerror}.") from None
    return listener
