"""Options are models whose errors are one sentence; docs/cli shows them as options of commands."""

import json

import numpy as np
import pytest
from world import table

from glocal import ObjectiveSettings, PaperLoop
from glocal.errors import FileError, ParameterError

REFUSED = """
{"eta": 0} | eta
{"eta": NaN} | finite
{"eta": Infinity} | finite
{"eta": "0.1"} | number
{"eta": true} | number
{"batch_size": 1.5} | integer
{"bias": 1} | boolean
{"optimiser": "best"} | 'sgd' or 'adam'
{"eat": 0.1} | Did you mean eta
"""


def test_options_are_checked_frozen_and_replaced():
    """Numpy numbers are accepted, the first fields may be given by position, and a replaced option
    is checked; a value in a file is refused with file and key, without backticks.
    """
    loop = PaperLoop(np.float32(0.5), "adam", batch_size=np.int64(3))
    assert loop.eta == 0.5
    assert loop.optimiser == "adam"
    assert loop.batch_size == 3
    assert loop.replace(eta=1).eta == 1
    with pytest.raises(ParameterError, match="greater than 0"):
        loop.replace(eta=0)
    with pytest.raises(ValueError, match="frozen"):
        loop.eta = 0.2
    with pytest.raises(ParameterError, match="position"):
        ObjectiveSettings(*["naive"] * 9)
    with pytest.raises(FileError, match=r"^[^`]*plan\.toml: eta=0[^`]*$"):
        PaperLoop.read({"eta": 0}, "plan.toml")


@table("options, noun", REFUSED)
def test_what_is_not_allowed_is_one_sentence(options, noun):
    """Values out of range or of another type and unknown names are a ParameterError."""
    with pytest.raises(ParameterError, match=noun):
        PaperLoop(**json.loads(options))
