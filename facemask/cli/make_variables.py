"""Turn variables of make into options: `make infer IMG=photo.jpg` is `python -m scripts.infer --img photo.jpg`.

The Makefile does not know the options of the steps. It puts the variables of make's command line into the step's
environment, unexpanded, and their names into `FACEMASK_MAKE_VARIABLES`. Other environment variables, such as a stray
HOST or PORT, are ignored.
"""

import difflib
import os
from enum import Enum

import typer
from typer.core import TyperCommand, TyperOption

from facemask.core.errors import UserError

NAMES = "FACEMASK_MAKE_VARIABLES"
"""The environment variable with the names of the variables that were given, separated by spaces."""

GOALS = "FACEMASK_MAKE_GOALS"
"""The environment variable with all targets of the same `make`, separated by spaces."""

YES, NO = ("1", "yes", "true", "on"), ("0", "no", "false", "off")


def take_given() -> tuple[dict[str, str], list[str]] | None:
    """The variables that make was given, by name, and its targets; None if make did not start this process.

    The list of names is removed from the environment, so that no child process takes the variables for its own.
    """
    names, goals = os.environ.pop(NAMES, None), os.environ.pop(GOALS, "")
    return None if names is None else ({name: os.environ.get(name, "") for name in names.split()}, goals.split())


def run_with_variables(command: TyperCommand, step: str, given: dict[str, str], others: list[TyperCommand]) -> None:
    """Run a step with the variables that make was given. With HELP=1, list the step's variables instead.

    Args:
        command: The step's command.
        step: Its name.
        given: The variables that make was given, by name.
        others: The commands of the other targets of the same `make`, so that `make records train RUN=a` is accepted.

    Raises:
        UserError: No target has the variable, or its value is wrong.
    """
    if _is_on("HELP", given.get("HELP", "")):
        print_help(command, step)
        return
    arguments = to_arguments(command, step, {name: given[name] for name in given if name != "HELP"}, others)
    try:
        command.make_context(step, list(arguments))
    except typer.BadParameter as error:
        raise UserError(refusal(command, step, given, error)) from None
    command(args=arguments, prog_name=f"make {step}")


def refusal(command: TyperCommand, step: str, given: dict[str, str], error: typer.BadParameter) -> str:
    """What a step says of a variable whose value it refuses."""
    name = next((name for name, option in variables_of(command).items() if option is error.param), "")
    said = error.message.removeprefix("Value error, ").rstrip(".")
    return f"{name}={given.get(name, '')}: {said}. See `make {step} HELP=1`."


def to_arguments(
    command: TyperCommand, step: str, given: dict[str, str], others: list[TyperCommand] | None = None
) -> list[str]:
    """Turn variables into arguments. An empty variable means the default and is left out.

    Raises:
        UserError: Neither the step nor the others have the variable, or a switch has another value than on or off.

    Example:
        >>> to_arguments(command_of("train"), "train", {"RUN": "a b", "FRESH": "1", "STEPS": ""})
        ['--run=a b', '--fresh']
    """
    known = variables_of(command)
    elsewhere = {name for other in others or [] for name in variables_of(other)}
    arguments = []
    for name, value in given.items():
        if name not in known:
            if name in elsewhere:
                continue
            near = difflib.get_close_matches(name.upper(), [*known, *elsewhere], n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise UserError(f"{name}: no variable of make {step}.{meant} It has {', '.join(known)}.")
        if known[name].is_flag:
            arguments += [known[name].opts[0]] if _is_on(name, value) else []
        elif value:
            arguments.append(f"{known[name].opts[0]}={value}")
    return arguments


def variables_of(command: TyperCommand) -> dict[str, TyperOption]:
    """The options of a command, by the name of the variable: `--learning-rate` is LEARNING_RATE."""
    return {
        option.opts[0].removeprefix("--").replace("-", "_").upper(): option
        for option in command.params
        if isinstance(option, TyperOption)
    }


def print_help(command: TyperCommand, step: str) -> None:
    """Print each variable of a step with its default and its help, for `make <step> HELP=1`."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for name, option in variables_of(command).items():
        default = getattr(option.default, "value", option.default)
        if option.is_flag:
            default = int(bool(default))
        choices = [member.value for member in type(option.default)] if isinstance(option.default, Enum) else []
        text = f"{option.help} One of {', '.join(choices)}." if choices else option.help or ""
        table.add_row(Text(f"{name}={'' if default is None else default}"), Text(text))
    console = Console(highlight=False)
    console.print(Text(f"make {step} [NAME=value ...]\n\n{command.help}\n"))
    console.print(Padding(table, (0, 0, 0, 2)))


def _is_on(name: str, value: str) -> bool:
    if value.lower() in YES:
        return True
    if not value or value.lower() in NO:
        return False
    raise UserError(f"{name}={value}: give 1 or 0.")
