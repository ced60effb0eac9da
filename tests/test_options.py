"""Options are models whose errors are one sentence, and their fields are the options of
commands.
"""

import json
from typing import Annotated, ClassVar, Literal

import numpy as np
import pytest
import typer
from pydantic import Field, model_validator

from glocal.cli.options import flat
from glocal.errors import FileError, ParameterError
from glocal.options import Options


class Loss(Options):
    panel: ClassVar[str] = "Method"

    method: Literal["naive", "global"] = Field("global", description="The loss.")
    alpha: float = Field(0.1, ge=0, lt=1, description="A weight.")
    seed: int | None = Field(None, ge=0, description="A seed.")
    bias: bool = Field(False, description="A flag.")
    inner: int = 3

    @model_validator(mode="after")
    def _apart(self):
        if self.bias and self.method == "naive":
            raise ValueError("naive has no bias. Leave it out.")
        return self


REFUSED = """
{"alpha": 1} | alpha
{"alpha": NaN} | finite
{"alpha": Infinity} | finite
{"alpha": "0.1"} | number
{"alpha": true} | number
{"seed": 1.5} | integer
{"bias": 1} | boolean
{"method": "best"} | 'naive' or 'global'
{"alpah": 0.1} | Did you mean alpha
{"bias": true, "method": "naive"} | no bias
"""


def test_options_are_checked_frozen_and_replaced():
    """Numpy numbers are accepted, the first fields may be given by position, and a replaced option
    is checked; a value in a file is refused with file and key, without backticks.
    """
    loss = Loss("naive", np.float32(0.5), seed=np.int64(3))
    assert (loss.method, loss.alpha, loss.seed) == ("naive", 0.5, 3)
    assert loss.replace(alpha=0).alpha == 0
    with pytest.raises(ParameterError, match="less than 1"):
        loss.replace(alpha=2)
    with pytest.raises(ValueError, match="frozen"):
        loss.alpha = 0.2
    with pytest.raises(ParameterError, match="position"):
        Loss("naive", 0.5, 3, True, 4, "surplus")
    with pytest.raises(FileError, match=r"^[^`]*plan\.toml: alpha=2[^`]*$"):
        Loss.read({"alpha": 2}, "plan.toml")


@pytest.mark.parametrize("line", REFUSED.strip().split("\n"))
def test_what_is_not_allowed_is_one_sentence(line):
    """Values out of range or of another type, unknown names and contradictions are a
    ParameterError.
    """
    options, noun = line.split(" | ")
    with pytest.raises(ParameterError, match=noun):
        Loss(**json.loads(options))


def test_the_fields_of_models_are_the_options_of_a_command():
    """The help, default and heading of an option come from its field, and the models know
    which options were passed.
    """
    passed = {}
    app = typer.Typer(rich_markup_mode="rich", add_completion=False)

    @app.command()
    @flat
    def run(*, loss: Loss, seed: Annotated[int, typer.Option("--seed")] = 7):
        passed.update(loss.model_dump(), seed_of_run=seed, passed=loss.model_fields_set)

    app(["--alpha", "0.5", "--bias"], standalone_mode=False)
    values = {"method": "global", "alpha": 0.5, "seed": 7, "bias": True, "inner": 3}
    assert passed == values | {"seed_of_run": 7, "passed": {"alpha", "bias", "seed"}}
    params = {param.name: param for param in typer.main.get_command(app).params}
    assert "inner" not in params
    assert params["alpha"].help == "A weight. [at least 0 and below 1; default: 0.1]"
    assert params["method"].rich_help_panel == "Method"
