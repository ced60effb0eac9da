"""The processes of a study: the server, and a fit that it starts beside itself."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import uvicorn

from glocal.collect.alone import alone
from glocal.collect.answering import Refused
from glocal.collect.owner import LOCK
from glocal.collect.patience import Patient
from glocal.collect.study import Study
from glocal.errors import ParameterError
from glocal.files import make_folder

_IDLE = 75  # seconds between two requests on a connection: longer than people think
_PATIENCE = 5  # seconds in which requests may end when the server is stopped


def listen(host: str, port: int) -> socket.socket:
    """A socket on which people can reach the server; port 0 takes a free one."""
    if not host:  # NOTE the system would take it for all addresses
        raise ParameterError("--host is empty. Name an address: 127.0.0.1 for this machine alone, 0.0.0.0 for all.")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # NOTE asyncio sends small packets at once (TCP_NODELAY) only where the protocol is named: 40 ms an answer
        at = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        with contextlib.ExitStack() as failed:
            failed.callback(at.close)
            if os.name == "posix":  # elsewhere it would let two servers share a port
                at.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            at.bind((host, port))
            at.listen(1024)
            failed.pop_all()
        return at
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ParameterError(
            f"cannot listen on {host} port {port}: {reason}. Choose another --port (0 takes a free one) or --host."
        ) from error


def address(host: str, at: socket.socket) -> str:
    """The address of a server on this machine."""
    return f"http://{f'[{host}]' if ':' in host else host}:{at.getsockname()[1]}"


def serve(app: Callable[..., object], at: socket.socket) -> None:
    """Serve until the process is asked to end."""
    server(app).run(sockets=[at])


def server(app: Callable[..., object]) -> uvicorn.Server:
    """A server that is patient for a while, and logs nothing about who asks."""
    config = uvicorn.Config(
        app, http=Patient, access_log=False, log_level="warning", server_header=False, proxy_headers=False, ws="none",
        timeout_graceful_shutdown=_PATIENCE, timeout_keep_alive=_IDLE,
    )  # fmt: skip
    return uvicorn.Server(config)


def start_fit(study: Study) -> None:
    """Start ``glocal collect fit`` as a process of its own; 409 while one runs."""
    make_folder(study.fit)
    with alone(study.fit / LOCK) as free:
        if not free:
            raise Refused(409, "A fit is running already.")
    with (study.fit / "log.txt").open("wb") as log:
        subprocess.Popen(
            [sys.executable, "-m", "glocal", "collect", "fit", str(study.folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
