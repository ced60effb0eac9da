"""The socket on which a study is shown, and the address that links begin with."""

from __future__ import annotations

import ipaddress
import socket

from glocal.errors import ParameterError


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; raises a ParameterError if that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ParameterError(
            f"cannot listen on {host} port {port}: {error.strerror or error}. "
            f"Choose another --port or --host."
        ) from error


def address(listener: socket.socket, host: str) -> str:
    """The address of the server for links; a ParameterError if it listens on all addresses."""
    bound_host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(bound_host).is_unspecified:
        raise ParameterError(
            f"{host} stands for all addresses of this computer, and nobody can open a link to it. "
            f"Add the address that people can reach, for example --public-url "
            f"http://{socket.gethostname()}:{port}."
        )
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
