"""Run a module in two processes forked from one that has imported the libraries: a third of what torchrun takes.

``python -m tests.train.forked -m MODULE ARGUMENTS`` gives each its rank in the environment, as torchrun does. When one
fails, the other is ended.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import sys

import accelerate  # noqa: F401 - to be there when the two begin
import datasets  # noqa: F401
import torch  # noqa: F401
import transformers  # noqa: F401

import freezeplan.api
import freezeplan.train.run  # noqa: F401

RANKS = 2


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def in_child(rank: int, port: int, arguments: list[str]) -> None:
    """Run the module as torchrun would start it."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(RANKS)}
    os.environ |= {**place, "LOCAL_WORLD_SIZE": str(RANKS), "RANK": str(rank), "LOCAL_RANK": str(rank)}
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def fork(rank: int, port: int, arguments: list[str]) -> int:
    """Start one process; returns its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        in_child(rank, port, arguments)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> int:
    """Run both to their ends; returns 0 when both did well."""
    port = free_port()
    running = {fork(rank, port, sys.argv[2:]) for rank in range(RANKS)}
    worst = 0
    while running:
        ended, status = os.wait()
        running.discard(ended)
        worst = worst or os.waitstatus_to_exitcode(status)
        if status:
            for child in running:
                os.kill(child, signal.SIGTERM)
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
