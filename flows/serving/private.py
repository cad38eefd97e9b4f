"""What is one user's alone, whatever the umask: the home of Prefect's server, with its secrets.

The database holds blocks such as the alerts' webhook, and Prefect's key to them lies beside it.
"""

from __future__ import annotations

from pathlib import Path

FOLDER_MODE, FILE_MODE, UMASK = 0o700, 0o600, 0o077
DATABASE = "prefect.db*"  # with its journal


def make_private(home: Path) -> None:
    """Make the folder, or close one that others may enter, and the database in it.

    Raises ValueError, one sentence, if it is another user's.
    """
    home.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    try:
        home.chmod(FOLDER_MODE)
        for path in home.glob(DATABASE):
            path.chmod(FILE_MODE)
    except PermissionError as error:
        raise ValueError(
            f"{home} is another user's, who alone may start a server there; name a server in "
            "PREFECT_API_URL, with PREFECT_API_AUTH_STRING, or use a store of your own"
        ) from error
