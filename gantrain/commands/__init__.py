"""Commands other than training: `python -m gantrain COMMAND key=value ...`, one file per command.

Each module has a dataclass `Options`, whose docstring describes the command, and a function `run(options)`.
"""

COMMANDS = ("evaluate", "export", "report", "sample", "theory", "watch")
"""Names of the modules of this package that are commands."""
