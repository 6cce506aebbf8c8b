"""The folder of a run: its creation in one piece, and the lock that admits one process at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import itertools
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._util.atomic import json_text, sync_folder, write_json, write_text
from ..config.schema import Config, as_yaml
from ..errors import RunError
from .artifacts import warn

CONFIG_NAME = "config.yaml"
VERSIONS = "versions.json"
LOCK = "run.lock"

#: What a file system without such locks answers.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
#: What a rename answers if another folder or file has the name.
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


def require_free(config: Config) -> None:
    """Raise `RunError` if the folder that a configuration names exists. A generated name is no demand.

    Raises:
        ConfigError: no folder can have that name, because it is too long, say.
    """
    folder = Path(config.run.out or "")
    try:
        taken = folder.exists()
    except OSError as error:
        message = f"{folder} cannot be made: {error.strerror}; choose another name"
        raise config.source.error("run.out", message) from None
    if taken and not config.out_is_generated:
        raise _taken(folder)


@contextlib.contextmanager
def new_folder(job: Any, installed: dict[str, Any]) -> Iterator[None]:
    """Create the folder of a run with all that is known before the first step, and lock it.

    Two runs that begin in the same second generate the same name. The later one gets a number behind it.

    Raises:
        RunError: the folder exists or cannot be created; nothing was written.
    """
    wanted, may_rename = job.folder, job.config.out_is_generated
    partial = wanted.with_name(f".{wanted.name}.{os.getpid()}.partial")
    with contextlib.ExitStack() as stack:
        try:
            partial.mkdir(parents=True)
            write_json(partial / VERSIONS, installed)
            stack.enter_context(lock_folder(partial))
            for number in itertools.count(1):
                job.folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
                job.config = dataclasses.replace(
                    job.config, run=dataclasses.replace(job.config.run, out=str(job.folder))
                )
                write_text(partial / CONFIG_NAME, as_yaml(job.config))
                if _renamed(partial, job.folder):
                    break
                if not may_rename:
                    raise _taken(wanted)
            sync_folder(job.folder.parent)
        except OSError as error:
            raise RunError(f"{wanted} cannot be made: {error}") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        yield


def _renamed(partial: Path, folder: Path) -> bool:
    """Give a folder its final name unless that is taken. A rename replaces nothing but an empty folder."""
    if folder.exists():
        return False
    try:
        partial.rename(folder)
    except OSError as error:
        if error.errno in _TAKEN and folder.exists():
            return False
        raise
    return True


def _taken(folder: Path) -> RunError:
    return RunError(
        f"{folder} exists; choose another folder with --set run.out=FOLDER, or go on with --resume {folder}"
    )


@contextlib.contextmanager
def lock_folder(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Be the only process that writes into a folder, until the block or the process ends. `name` is that of the lock.

    Raises:
        RunError: another process has the lock; the error says which one.
    """
    try:
        descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror}") from None
    _descriptors.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{folder} is in use by {_holder(descriptor)}; one process at a time can write it") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise RunError(f"{folder / name} cannot be locked: {error.strerror}") from None
            warn(f"{folder / name} cannot be locked ({error.strerror}): take care that no other process writes there")
        else:
            holder = json_text({"pid": os.getpid(), "host": socket.gethostname()}) + "\n"
            with contextlib.suppress(OSError):  # on a full disk the lock holds all the same
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, holder.encode(), 0)
        yield
    finally:
        if descriptor in _descriptors:  # a forked process has closed it
            _descriptors.remove(descriptor)
            os.close(descriptor)


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


_descriptors: set[int] = set()


def _close_in_child() -> None:
    """Close the locks in a forked process, which would otherwise hold them beyond the death of this one."""
    for descriptor in _descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _descriptors.clear()


os.register_at_fork(after_in_child=_close_in_child)
