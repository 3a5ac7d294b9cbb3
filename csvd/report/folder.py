"""All files of a result, or none: an error or Ctrl-C leaves the folder as it was."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path


def write_together(folder: Path, write: Callable[[Path], None], retired: Iterable[str] = ()) -> dict[str, Path]:
    """Let `write` fill a draft folder, then move its files into `folder`.

    The draft lies inside `folder`, hidden, so that each move is a rename on one file system. Files that are replaced
    are set aside first and put back if a later step fails.

    Args:
        folder: made, with its parents, if it is not there.
        write: called with the draft folder; writes plain files into it.
        retired: names of older files that go away when `write` does not write them again.

    Returns:
        What was written, by file name.

    Raises:
        OSError: the folder cannot be made or written to. Whatever `write` raises comes through.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    work = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".csvd-", dir=folder))
        draft, former = work / "draft", work / "former"
        draft.mkdir()
        former.mkdir()
        write(draft)
        names = sorted(path.name for path in draft.iterdir())
        _swap(folder, draft, former, names, {*names, *retired})
    except BaseException:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        for path in made:
            with suppress(OSError):
                path.rmdir()
        raise
    shutil.rmtree(work, ignore_errors=True)
    return {name: folder / name for name in names}


def _swap(folder: Path, draft: Path, former: Path, names: list[str], outgoing: Iterable[str]) -> None:
    present = [name for name in outgoing if (folder / name).exists()]
    for name in present:
        if (folder / name).is_dir():
            raise IsADirectoryError(None, f"there is a folder named {name} where a file is to be written")
    try:
        for name in present:
            os.replace(folder / name, former / name)
        for name in names:
            os.replace(draft / name, folder / name)
    except BaseException:
        # What has left the draft is in place: the disk itself tells how far the moves came, also after Ctrl-C.
        for name in names:
            if not (draft / name).exists():
                (folder / name).unlink(missing_ok=True)
        for path in former.iterdir():
            os.replace(path, folder / path.name)
        raise
