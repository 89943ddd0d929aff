"""`paper.*`: the paper that an experiment follows."""

from dataclasses import dataclass

from gantrain.options import option


@dataclass(slots=True, kw_only=True)
class PaperConfig:
    """The source of an experiment, printed with the result of the run."""

    source: str | None = option(
        None, "the paper that an experiment follows, printed at the end with the result of the run"
    )
    published: str | None = option(None, "the result that the paper reports, with its protocol")
