"""Run a step. Each step is defined once and can be called in three ways.

`facemask infer photo.jpg`, `python -m scripts.infer --img photo.jpg` and `make infer IMG=photo.jpg` all call `main` of
`facemask/cli/infer_command.py`. A new step is a file `facemask/cli/<step>_command.py`. `facemask --help` and `make`
list the first line of its docstring, and the parameters of its `main` are its options.

A step's file is imported only when the step is called.
"""

import ast
import difflib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from facemask.cli import make_variables, options
from facemask.core.errors import UserError
from facemask.core.files import expand_home

PLAIN: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}
SUFFIX = "_command"
FOLDER = Path(__file__).parent


def app_main() -> None:
    """Run the command line of `facemask`: `facemask <step> --option value ...`."""
    app = typer.Typer(cls=Steps, no_args_is_help=True, **PLAIN)

    @app.callback()
    def facemask() -> None:
        """Find faces in pictures and tell whether each wears a mask: label, train, export, measure, detect, serve."""

    typer.main.get_command(app)(prog_name="facemask")


def run_step(step: str) -> None:
    """Run one step for `python -m scripts.<step>`. Under make, its options are the variables that make was given."""
    command = command_of(step)
    from_make = make_variables.take_given()
    if from_make is None:
        command(prog_name=f"python -m scripts.{step}")
    else:
        given, goals = from_make
        others = [command_of(goal) for goal in goals if goal in step_names() and goal != step]
        make_variables.run_with_variables(command, step, given, others)


def step_names() -> list[str]:
    """The name of every step, in alphabetical order."""
    modules = pkgutil.iter_modules([str(FOLDER)])
    return sorted(module.name.removesuffix(SUFFIX) for module in modules if module.name.endswith(SUFFIX))


def summary_of(step: str) -> str:
    """The first line of the docstring of a step's file, read without importing it."""
    source = (FOLDER / f"{step}{SUFFIX}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def command_of(step: str) -> TyperCommand:
    """The command of a step, from the signature and the docstring of its `main`."""
    module = importlib.import_module(f"facemask.cli.{step}{SUFFIX}")
    app = typer.Typer(**PLAIN)
    app.command(step)(_with_positional(_with_home_folders(module.main)))
    command = typer.main.get_command(app)
    assert isinstance(command, TyperCommand)
    return command


class Steps(TyperGroup):
    """The group of all steps. It imports a step when the step is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the steps."""
        return step_names()

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand:
        """The command of a step. Raises UserError if there is no step of that name."""
        if cmd_name in step_names():
            return command_of(cmd_name)
        near = difflib.get_close_matches(cmd_name, step_names(), n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise UserError(f"{cmd_name}: no such step.{meant} `facemask --help` lists them.")

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of the steps for `facemask --help`."""
        with formatter.section("Steps"):
            formatter.write_dl([(step, summary_of(step)) for step in step_names()])


def _with_home_folders(step: Callable[..., None]) -> Callable[..., None]:
    """Let every option of a step that is a path begin with `~`, which no shell expands behind the `=` of make."""

    @functools.wraps(step)
    def with_home_folders(**values: Any) -> None:
        paths = {name: expand_home(value) for name, value in values.items() if isinstance(value, Path)}
        step(**values | paths)

    with_home_folders.__signature__ = inspect.signature(step)  # type: ignore[attr-defined]
    return with_home_folders


def _with_positional(step: Callable[..., None]) -> Callable[..., None]:
    """Let a step's option that is marked `options.POSITIONAL` be given without its name too."""
    signature = inspect.signature(step)
    name = next(
        (name for name, found in signature.parameters.items() if options.POSITIONAL in get_args(found.annotation)), None
    )
    if name is None:
        return step
    argument = inspect.Parameter(
        f"{name}_argument",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=None,
        annotation=Annotated[str | None, typer.Argument(metavar=name.upper(), help=f"The same as --{name}.")],
    )

    @functools.wraps(step)
    def with_positional(**values: Any) -> None:
        given = values.pop(argument.name)
        if given is not None:
            if values[name]:
                raise UserError(f"{name.upper()} was given twice: {given} and {values[name]}.")
            values[name] = given
        step(**values)

    parameters = [argument, *signature.parameters.values()]
    with_positional.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return with_positional
