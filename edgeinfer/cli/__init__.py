"""The `edgeinfer` command. Each subcommand is a module of this package.

A device has no modules of those that only the converter can run; they say what to install.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import NoReturn

from edgeinfer.cli.arguments import UsageError, add_custom_ops
from edgeinfer.errors import (
    AccuracyError,
    BudgetError,
    ConversionError,
    EdgeInferError,
    MissingExtraError,
    cannot_open,
)

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_NOT_CONVERTIBLE = 3
EXIT_OVER_BUDGET = 4
EXIT_INACCURATE = 5

_EXIT_CODES = """\
exit codes:
  0  done
  1  a file, an input or this machine does not allow it; the message says why
  2  wrong usage
  3  the source model cannot be converted; every reason is listed
  4  over the RAM budget, or the budget of weights
  5  not accurate enough: quantisation costs more than --max-drop, or a layer breaks a limit of
     compare
"""

SUBCOMMANDS = (
    "convert",
    "check",
    "inspect",
    "explain",
    "plan",
    "run",
    "compare",
    "bench",
    "power",
    "doctor",
)
_WITHOUT_MODEL = ("doctor", "power")
_OF_CONVERTER = ("convert", "check", "compare")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="edgeinfer",
        description="Run quantised and float32 models inside a RAM budget known beforehand.",
        epilog=_EXIT_CODES + "\nexample:\n  edgeinfer convert model.tflite -o model.edge",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in SUBCOMMANDS:
        if name in _OF_CONVERTER and find_spec(f"edgeinfer.cli.{name}") is None:
            _add_missing(subparsers, name)
            continue
        module = importlib.import_module(f"edgeinfer.cli.{name}")
        summary = (module.__doc__ or "").partition("\n")[0]
        subparser = subparsers.add_parser(
            name,
            help=summary[0].lower() + summary[1:].rstrip("."),
            description=module.__doc__,
            epilog=f"{_EXIT_CODES}\nexample:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        if name not in _WITHOUT_MODEL:
            add_custom_ops(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.version:
        import edgeinfer

        print(f"edgeinfer {edgeinfer.__version__}")
        return EXIT_OK
    if args.command is None:
        parser.print_help()
        return EXIT_USAGE
    try:
        for path in getattr(args, "custom_ops", ()):
            from edgeinfer.custom import load_custom_ops

            load_custom_ops(path)
        return int(args.run(args))
    except UsageError as error:
        return _fail(error, EXIT_USAGE)
    except ConversionError as error:
        return _fail(error, EXIT_NOT_CONVERTIBLE)
    except BudgetError as error:
        return _fail(error, EXIT_OVER_BUDGET)
    except AccuracyError as error:
        return _fail(error, EXIT_INACCURATE)
    except BrokenPipeError:  # the reader of our output has gone: `edgeinfer inspect m | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except (EdgeInferError, OSError, ValueError) as error:
        return _fail(error, EXIT_ERROR)


def _add_missing(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], name: str
) -> None:
    """A subcommand that takes anything and says what it needs."""

    def refuse(_: argparse.Namespace) -> NoReturn:
        raise MissingExtraError(f"edgeinfer {name}", "edgeinfer-convert", "convert")

    subparser = subparsers.add_parser(
        name, help="needs edgeinfer[convert]", prefix_chars="\0", add_help=False
    )
    subparser.add_argument("anything", nargs="*")
    subparser.set_defaults(run=refuse)


def _fail(error: Exception, code: int) -> int:
    from edgeinfer.printing import printable

    said = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        said = cannot_open(error.filename, error)
    lines = [printable(line) for line in said.split("\n")]  # names in it are a file's
    print("edgeinfer: " + "\n".join(lines), file=sys.stderr)
    return code
