"""Refusals of requests, and the rate limits that lead to some of them."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from starlette.exceptions import HTTPException

_MAX_KEYS = 20_000  # keys that are remembered; the least recently used are forgotten


class Refusal(HTTPException):
    """The refusal of a request: an HTTP status, a sentence, and the seconds to wait, if any."""

    def __init__(self, status: int, sentence: str, wait: int = 0) -> None:
        headers = {"Retry-After": str(wait)} if wait else None
        super().__init__(status, sentence, headers)


@dataclass(eq=False)
class Limit:
    """A rate limit for each key: `burst` at once, one every `seconds` on average (0: no limit)."""

    seconds: float
    burst: int
    clock: Callable[[], float] = time.monotonic
    _full_at: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, key: str) -> None:
        """Let one request of a key pass, or raise a Refusal with the seconds to wait."""
        if not self.seconds:
            return
        with self._lock:
            now = self.clock()
            last = self._full_at.pop(key, now)
            full_at = max(now, last)
            tolerance = (self.burst - 1) * self.seconds
            wait = full_at - now - tolerance
            self._full_at[key] = full_at if wait > 0 else full_at + self.seconds
            if len(self._full_at) > _MAX_KEYS:
                self._full_at.popitem(last=False)
        if wait > 0:
            raise Refusal(429, "That was too fast. Wait a moment and try again.", ceil(wait))
