"""Owns: what every command of `ordersaga` has in common: its console, its errors, NAME=VALUE options.

Must not know: any command.
"""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click
from rich.console import Console

from ops import display
from ops.errors import StackError

Command = TypeVar("Command", bound=Callable[..., Any])


class _PatientConsole(Console):
    """`ordersaga up | head -1` must not stop an `up` half-way because nobody reads on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


def console() -> Console:
    """Where people read; stdout stays clean for what scripts read."""
    return _PatientConsole(stderr=True, highlight=False, soft_wrap=True)


def readable_errors(command: Command) -> Command:
    """Show a StackError as a message with the log's last lines instead of a traceback."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except StackError as error:
            display.show_error(console(), error)
            sys.exit(1)
        except PermissionError as error:
            display.show_error(console(), _foreign_stack(error))
            sys.exit(1)
        except KeyboardInterrupt:
            console().print("interrupted")
            sys.exit(130)

    return wrapped  # type: ignore[return-value]  # functools.wraps keeps the signature, mypy cannot say so


def _foreign_stack(error: PermissionError) -> StackError:
    return StackError(
        f"no right to use {error.filename}", hint="run as the user who started this stack, or choose --stack DIR"
    )


def pairs(_context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """The callback of an option or argument that is NAME=VALUE, several times."""
    parts = [value.partition("=") for value in values]
    wrong = [name for name, equals, _ in parts if not equals or not name]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not NAME=VALUE", param=parameter)
    return {name: value for name, _, value in parts}
