"""How often something may happen: a bucket for each person that fills with time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST = 20_000  # people whose buckets are kept


class Limit:
    """`burst` at once and one every `seconds` in the mean, for each key alone; no limit where `seconds` is 0."""

    def __init__(self, seconds: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._burst, self._clock = seconds, burst, clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, key: str) -> float:
        """0, and one is taken; or the seconds after which there is one."""
        if not self._seconds:
            return 0.0
        now = self._clock()
        full_at = max(now, self._full_at.pop(key, now))
        missing = full_at - now - (self._burst - 1) * self._seconds
        self._full_at[key] = full_at if missing > 0 else full_at + self._seconds
        if len(self._full_at) > _MOST:
            self._full_at.popitem(last=False)
        return max(0.0, missing)
