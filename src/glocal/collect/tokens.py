"""Links: a signed token says who may do what until when; nobody can make or change one without the study's key."""

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
    """What a token says: the `role`, for a person the `id` and the `name` that a recruiting site has for them."""

    role: str
    id: str = ""
    name: str = ""
    until: int = 0


class Signer:
    """Writes and reads the tokens of one study."""

    def __init__(self, key: str, study: str) -> None:
        self._key = key.encode()
        self._serializer = URLSafeSerializer(
            key, salt=f"glocal.collect.{study}",
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )  # fmt: skip

    def sign(self, token: Token) -> str:
        """The token as a part of an address."""
        signed = self._serializer.dumps([token.role, token.id, token.name, token.until])
        return signed if isinstance(signed, str) else signed.decode()

    def read(self, text: str, role: str) -> Token | None:
        """What a token says; None where its signature, or its role, is another one. It may have ended."""
        if len(text) > _LONGEST:
            return None
        try:
            found = Token(*self._serializer.loads(text))
        except (BadSignature, TypeError):
            return None
        return found if found.role == role else None

    def code(self, person: str) -> str:
        """The completion code of a person: eight letters and digits, which the key alone can tell."""
        digest = hmac.new(self._key, f"code {person}".encode(), hashlib.sha256).digest()
        return "".join("23456789ABCDEFGHJKLMNPQRSTUVWXYZ"[byte % 32] for byte in digest[:8])


def new_person(until: int, name: str = "") -> Token:
    """A token for somebody who came by the open link."""
    return Token(PERSON, f"o{secrets.token_hex(6)}", name, until)


def is_name(name: str) -> bool:
    """Whether an id of a recruiting site can be kept: up to 64 letters, digits and ``. @ - _``."""
    return _NAME.fullmatch(name) is not None
