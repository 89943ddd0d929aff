"""A description of a run in Markdown, for TensorBoard's TEXT tab."""

import shlex
from collections.abc import Sequence

from gantrain.config import Config, as_word, flatten, options, to_dict
from gantrain.objectives.table import NOTATION, discriminator_rows, generator_rows


def account_of(config: Config, *, words: Sequence[str], commit: str | None, warnings: Sequence[str]) -> str:
    """The objective with its formulas, warnings, the command, and the keys that differ from the defaults.

    Args:
        config: configuration of the run.
        words: `key=value` words of the command line.
        commit: commit of the checkout.
        warnings: known problems of the configuration.
    """
    objective = config.loss.make()
    disc = next(row for row in discriminator_rows() if row[0] == objective.disc)
    gen = next(row for row in generator_rows() if row[0] == objective.gen)
    formula = gen[2] if objective.rule == "exact" and gen[2] else gen[1]
    lines = [
        f"### {objective}",
        f"- **D** minimizes, on real and on fake: `{disc[1]}` — {disc[2]}",
        f"- **G** minimizes: `{formula}`",
        f"- {NOTATION}",
        f"- {config.data.name}, {config.model.name} of width {config.model.width}, {config.schedule.steps:,} steps of "
        f"{config.schedule.batch_size}, seed {config.seed}",
    ]
    lines += [f"- **warning**: {warning}" for warning in warnings]
    lines += ["", f"`{shlex.join(['python', '-m', 'gantrain', *words])}`", ""]
    lines.append(f"commit {commit}" if commit else "no commit: not run from a checkout")
    defaults = {key: default for key, default, _ in options()}
    flat = flatten(to_dict(config))
    changed = {key: value for key, value in flat.items() if key in defaults and value != defaults[key]}
    lines += ["", "| key | value | default |", "| --- | --- | --- |"]
    lines += [f"| {key} | {as_word(value)} | {as_word(defaults[key])} |" for key, value in changed.items()]
    return "\n".join(lines)
