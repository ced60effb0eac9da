"""Links: a signed token says who may do what; nobody can make or change one without the study's key."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeSerializer

PERSON, OPEN, OWNER = "person", "open", "owner"
_LONGEST = 400  # characters of a token that is looked at
_NAME = re.compile(r"[\w.@-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Token:
    """What a token says: the `role`, and for a person the `id` and the `name` that a recruiting site has for them.

    It says nothing of time: when links end is a setting of the study, which its owner may change.
    """

    role: str
    id: str = ""
    name: str = ""


class Signer:
    """Writes and reads the tokens of one study."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._serializer = URLSafeSerializer(
            key, salt="glocal-collect", signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"}
        )

    def sign(self, token: Token) -> str:
        """The token as a part of an address."""
        signed = self._serializer.dumps([token.role, token.id, token.name])
        return signed if isinstance(signed, str) else signed.decode()

    def read(self, text: str, role: str) -> Token | None:
        """What a token says; None where its signature, or its role, is another one."""
        if len(text) > _LONGEST:
            return None
        try:
            found = Token(*self._serializer.loads(text))
        except (BadSignature, TypeError):
            return None
        return found if found.role == role else None

    def recruited(self, name: str, session: str) -> Token:
        """The token of somebody whom a recruiting site sent: the same whenever they come back with the same address.

        `name` is their id there and `session` a secret that the site adds to it: a visitor with
        the same id and another session is another person.
        """
        return Token(PERSON, f"o{self._digest(f'person {name} {session}').hex()[:12]}", name)

    def code(self, person: str) -> str:
        """The completion code of a person: eight letters and digits, which the key alone can tell."""
        return "".join("23456789ABCDEFGHJKLMNPQRSTUVWXYZ"[byte % 32] for byte in self._digest(f"code {person}")[:8])

    def _digest(self, text: str) -> bytes:
        return hmac.new(self._key, text.encode(), hashlib.sha256).digest()


def new_person() -> Token:
    """The token of somebody who came by the open link without an id."""
    return Token(PERSON, f"o{secrets.token_hex(6)}")


def is_name(name: str) -> bool:
    """Whether an id of a recruiting site can be kept: up to 64 letters, digits and ``. @ - _``."""
    return _NAME.fullmatch(name) is not None
