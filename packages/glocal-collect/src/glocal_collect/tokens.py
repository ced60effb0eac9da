"""The signed tokens in links, each for one role; only the key of the study can sign them."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeSerializer

PERSON = "person"
OPEN = "open"
OWNER = "owner"
_VISITOR = "o"  # begins the ids of people who came by the open link
_MAX_CHARACTERS = 400  # of the longest token that is read
_CODE_CHARACTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # without 0, 1, I and O, which look alike


@dataclass(frozen=True)
class Token:
    """The content of a token.

    It has the `role`, and for a person the `id` and the `name` at a recruiting site. It has no
    expiry date: the owner may change the setting of the study that says when links expire.
    """

    role: str
    id: str = ""
    name: str = ""

    @property
    def is_visitor(self) -> bool:
        """Whether the person came by the open link."""
        return self.id.startswith(_VISITOR)


class Signer:
    """Write and read the tokens of one study."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._serializer = URLSafeSerializer(
            key,
            salt="glocal-collect",
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )

    def sign(self, token: Token) -> str:
        """Encode a token as a part of an address."""
        return str(self._serializer.dumps([token.role, token.id, token.name]))

    def read(self, text: str, role: str) -> Token | None:
        """Decode a token; None if its signature is not valid, or its role is another."""
        if len(text) > _MAX_CHARACTERS:
            return None
        try:
            token = Token(*self._serializer.loads(text))
        except (BadSignature, TypeError):
            return None
        return token if token.role == role else None

    def recruited(self, name: str, session: str) -> Token:
        """The token of a person from a recruiting site, the same at every visit.

        `name` is their id there and `session` a secret that the site adds to it: a visitor with
        the same id and another session is another person.
        """
        return Token(
            PERSON, f"{_VISITOR}{self._digest(f'person {name} {session}').hex()[:12]}", name
        )

    def code(self, person: str) -> str:
        """The completion code of a person: eight letters and digits, derived from the key."""
        return "".join(_CODE_CHARACTERS[byte % 32] for byte in self._digest(f"code {person}")[:8])

    def _digest(self, text: str) -> bytes:
        return hmac.new(self._key, text.encode(), hashlib.sha256).digest()


def new_person() -> Token:
    """The token of a visitor of the open link who has no id."""
    return Token(PERSON, f"{_VISITOR}{secrets.token_hex(6)}")


def is_name(name: str) -> bool:
    """Whether an id of a recruiting site is allowed: up to 64 letters, digits and ``. @ - _``."""
    return re.fullmatch(r"[\w.@-]{1,64}", name, re.ASCII) is not None
