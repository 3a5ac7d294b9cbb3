"""``csvd``: the command line. Exit status: 0 done, 2 wrong input or call, 3 damaged or absent model, 130 cancelled."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from . import __version__
from .commands import burden, cohort, ct, evaluate, models, wmh
from .commands.terminal import NOT_A_DEVICE
from .errors import Cancelled, CsvdError, InputError

COMMANDS = (wmh, ct, burden, cohort, evaluate, models)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that says what is wrong in one line."""

    def error(self, message: str):
        raise InputError(f"{message} (see {self.prog} --help)")


def build_parser() -> Parser:
    parser = Parser(
        prog="csvd", description="Markers of cerebral small vessel disease on brain images.", epilog=NOT_A_DEVICE
    )
    parser.add_argument("--version", action="version", version=f"csvd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status; errors are one line on stderr."""
    try:
        status = run(argv)
        if sys.stdout:  # None where standard output is closed
            sys.stdout.flush()  # at exit it would be too late to forgive
    except BrokenPipeError:  # the reader of our output, such as head, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def run(argv: list[str] | None) -> int:
    try:
        arguments = build_parser().parse_args(argv)
        stop_on_terminate()
        arguments.run(arguments)
    except SystemExit as leave:  # --help and --version
        return int(leave.code or 0)
    except CsvdError as error:
        print(f"csvd: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("csvd: Cancelled; nothing was written.", file=sys.stderr)
        return Cancelled.exit_status
    return 0


def stop_on_terminate() -> None:
    """A cluster's SIGTERM ends a run as Ctrl-C does; only the main thread may say so."""
    import threading

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())
