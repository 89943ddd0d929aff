"""Commands other than training: `python -m gantrain COMMAND key=value ...`, one file per command.

A command's module has a dataclass `Options`, whose docstring says what the command does, and `run(options)`.
"""

COMMANDS = ("evaluate", "export", "report", "sample", "theory", "watch")
"""Names of the modules of this package that are commands."""
