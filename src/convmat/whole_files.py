"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import cannot_write


@contextmanager
def replace_when_whole(path: str | os.PathLike[str], call: str) -> Iterator[Path]:
    """A new file to write to, put in the place of `path` at the end; a device or pipe that is there is fed it.

    Whatever stops the writing, Ctrl-C included, leaves `path` as it was and nothing beside it. Raises PlanError with
    the path where it cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replace_when_whole(f"{folder}/a.txt", "save") as part:
    ...         _ = part.write_text("whole")
    ...     os.listdir(folder), Path(folder, "a.txt").read_text()
    (['a.txt'], 'whole')
    """
    target = Path(path)
    if not target.name:
        raise cannot_write(call, target, IsADirectoryError(errno.EISDIR, "it is a folder"))
    fed = _is_no_file(target)
    name = f".{target.name}.{os.urandom(4).hex()}.part"
    part = target.with_name(name)
    if fed:
        import tempfile

        part = Path(tempfile.gettempdir(), name)
    try:
        try:
            part.touch(exist_ok=False)
        except (OSError, ValueError) as error:
            raise cannot_write(call, target, _as_os_error(error)) from error
        try:
            yield part
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            if fed:
                import shutil

                with part.open("rb") as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
            else:
                os.replace(part, target)
        except OSError as error:
            raise cannot_write(call, target, error) from error
    finally:
        with suppress(OSError, ValueError):
            part.unlink(missing_ok=True)


def require_writable(path: str | os.PathLike[str], call: str) -> None:
    """Require that a file could be written there, which stays as it is. Raises PlanError as writing would.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     require_writable(f"{folder}/a.txt", "save")
    ...     os.listdir(folder)
    []
    """
    target = Path(path)
    if not target.name or target.is_dir():
        raise cannot_write(call, target, IsADirectoryError(errno.EISDIR, "it is a folder"))
    if _is_no_file(target):
        return
    part = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
    try:
        part.touch(exist_ok=False)
        part.unlink()
    except (OSError, ValueError) as error:
        raise cannot_write(call, target, _as_os_error(error)) from error


def _is_no_file(target: Path) -> bool:
    """Whether something is there that a file must not take the place of."""
    try:
        mode = target.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _as_os_error(error: OSError | ValueError) -> OSError:
    """What the system would have said of a name that Python does not even hand to it."""
    return error if isinstance(error, OSError) else OSError(str(error))


__all__ = ["replace_when_whole", "require_writable"]
