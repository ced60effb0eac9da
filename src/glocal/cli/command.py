"""A command whose options stand elsewhere: at the functions and dataclasses that they are for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, get_type_hints

import typer

from glocal.errors import ParameterError
from glocal.options import Option, defaults_of, options_of

Command = Callable[..., None]
SolverName = Annotated[
    str,
    typer.Option(
        "--solver", help="exact, or paper: the authors' procedure on mini-batches, which needs glocal[paper]."
    ),
]


def takes(*owners: Any, without: tuple[str, ...] = ()) -> Callable[[Command], Command]:
    """Fill in the options of a command.

    Its ``**options`` become those of the owners, of which a later one overrides an earlier one. A parameter whose type
    is a dataclass becomes the fields of that dataclass, which are annotated as parameters of a command are; what the
    command declares itself fills a field of the same name too. A parameter `asked` is told which of the options were
    given, be it with their defaults.

    Parameters
    ----------
    *owners : functions and dataclasses
        See `glocal.options.options_of`.
    without : tuple of str
        Options that the command does not have.
    """
    known = {name: option for owner in owners for name, option in options_of(owner).items() if name not in without}
    defaults = {name: value for owner in owners for name, value in defaults_of(owner).items()}

    def decorate(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
        own: dict[str, Parameter] = {}
        filled: dict[str, Parameter] = {}
        for name, parameter in signature(command).parameters.items():
            if parameter.kind is Parameter.VAR_KEYWORD:
                filled |= {key: _parameter(key, option, defaults.get(key)) for key, option in known.items()}
            elif name == "asked":
                filled["context"] = parameter.replace(name="context", annotation=typer.Context)
            elif name in groups:
                filled |= {field.name: field for field in _fields(groups[name])}
            else:
                filled[name] = own[name] = parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name])
        filled |= own

        def run(**values: Any) -> None:
            given = {name: values[name] for name in own}
            for name, group in groups.items():
                given[name] = group(**{field.name: values[field.name] for field in fields(group)})
            if "context" in values:
                source = values["context"].get_parameter_source
                given["asked"] = {name for name in known if source(name).name != "DEFAULT"}
            command(**given, **{name: _read(name, option, values[name]) for name, option in known.items()})

        parameters = sorted(filled.values(), key=lambda parameter: parameter.default is not Parameter.empty)
        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        run.__doc__, run.__name__ = command.__doc__, command.__name__
        return run

    return decorate


def changed(command: Command, values: Mapping[str, Any]) -> dict[str, str]:
    """The options among `values` that differ from the defaults of a command, and how they are spelled."""
    parameters = signature(command).parameters
    names = [name for name, value in values.items() if value is not None and value != parameters[name].default]
    return {name: _flag(name) for name in names}


def solver_of(name: str, command: Command, options: Mapping[str, Any]) -> Any:
    """The solver that ``--solver`` names, with its options; a ParameterError for options of the other one."""
    from glocal.aligner import Exact, PaperLoop

    solvers = {"exact": Exact, "paper": PaperLoop}
    if name not in solvers:
        raise ParameterError(f"solver is {name!r}; allowed are {' and '.join(solvers)}.")
    (other,) = solvers.keys() - {name}
    own, known = options_of(solvers[name]), options_of(solvers[other])
    if idle := [spelled for key, spelled in changed(command, options).items() if key in known and key not in own]:
        raise ParameterError(f"{idle[0]} is an option of --solver {other}; leave it out, or pass --solver {other}.")
    return solvers[name](**{key: options[key] for key in own if key in options})


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _parameter(name: str, option: Option, default: Any) -> Parameter:
    """The parameter of a command for one option."""
    flag = _flag(name)
    told = typer.Option(f"{flag}/--no-{flag[2:]}" if option.kind is bool else flag, help=option.help)
    kind: Any = str if option.none else option.kind
    if default is None:
        default, kind = (option.none, kind) if option.none else (None, kind | None)
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, told])


def _fields(group: Any) -> Iterator[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    of_class = signature(group).parameters
    for field in fields(group):
        yield of_class[field.name].replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[field.name])


def _read(name: str, option: Option, given: Any) -> Any:
    """The value of an option as it was given on the command line."""
    if not option.none:
        return given
    if given == option.none:
        return None
    try:
        return option.kind(given)
    except ValueError as error:
        raise ParameterError(
            f"{name} is {given!r}; give a whole number of {name.rpartition('_')[2]}, or {option.none}."
        ) from error
