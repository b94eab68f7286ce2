"""Files with personal data in them: written whole or not at all, readable by their owner alone."""

import os
import tempfile
from pathlib import Path

from connector.errors import BadSetting


def keep(path: Path, text: str) -> None:
    """Write a text aside and rename it. Raises BadSetting when the folder cannot be written to."""
    try:
        handle, aside = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
    except OSError as problem:
        raise BadSetting(f"{path} cannot be written ({problem.strerror}): name another file.") from None
