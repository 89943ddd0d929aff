"""What stands beside training: `python -m gantrain COMMAND key=value ...`, one file a command.

A command's module has a dataclass `Options`, whose docstring says what the command does, and `run(options)`.
"""

COMMANDS = ("evaluate", "export", "report", "sample", "theory", "watch")
"""Each the name of its module in this package."""
