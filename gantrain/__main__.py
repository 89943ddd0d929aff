"""`python -m gantrain key=value ...` trains; `python -m gantrain COMMAND ...` runs another command."""

import sys

from gantrain import __version__


def main() -> None:
    """Entry point, see `gantrain.cli.main`; --version is answered without importing torch."""
    if sys.argv[1:] == ["--version"]:
        print(f"gantrain {__version__}")
        return
    from gantrain import cli

    cli.main()


if __name__ == "__main__":
    main()
