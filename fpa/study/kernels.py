"""Kernels that are forked from a process that has imported everything, so that a notebook starts at once.

Papermill starts a kernel through a "provisioner"; the one here gives the order to a process that was forked for it.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

from ipykernel.kernelapp import IPKernelApp
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from fpa.study.headless import PROVISIONER

_FORK = multiprocessing.get_context("fork")


class Waiting(_FORK.Process):
    """A process that waits for the order to be a kernel, with what Jupyter wants of a `subprocess.Popen` besides."""

    stdin = stdout = stderr = None

    def __init__(self) -> None:
        super().__init__()
        self._orders, self._order = _FORK.Pipe(duplex=False)
        self.start()

    def run(self) -> None:
        """Wait, and be a kernel: called in the process itself."""
        os.setsid()
        self._order.close()
        command, environment, folder = self._orders.recv()
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        arguments = command[command.index("-f") :]
        IPKernelApp.launch_instance(argv=[*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])

    def begin(self, command: list[str], environment: Mapping[str, str], folder: str) -> None:
        """Have it be the kernel that `command` would be."""
        self._order.send((command, dict(environment), folder))

    def poll(self) -> int | None:
        """How it ended, None if it has not."""
        return self.exitcode

    def wait(self) -> int | None:
        """Wait for its end, and how it was."""
        self.join()
        return self.exitcode

    def send_signal(self, signum: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            assert self.pid is not None
            os.kill(self.pid, signum)


class Forked(LocalProvisioner):
    """Starts a kernel by giving the order to the process that is `waiting` for it."""

    waiting: ClassVar[Waiting]

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Have the process that waits be the kernel."""
        self.process = self.waiting
        self.process.begin(cmd, kwargs["env"], kwargs.get("cwd") or os.getcwd())
        self.pid = self.process.pid
        return self.connection_info


@contextmanager
def waiting() -> Iterator[None]:
    """Have a process wait for the kernel that is to come, and let Jupyter know how that one is started.

    Enter it while this process has a single thread: a fork takes along one of them, and the locks of all.
    """
    Forked.waiting = Waiting()
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[PROVISIONER] = EntryPoint(PROVISIONER, f"{__name__}:{Forked.__name__}", factory.GROUP_NAME)
    try:
        yield
    finally:
        Forked.waiting.send_signal(signal.SIGKILL)
        Forked.waiting.wait()
