"""`about.*`: the paper that an experiment follows."""

from dataclasses import dataclass

from gantrain.options import option


@dataclass(slots=True, kw_only=True)
class PaperConfig:
    """Where an experiment comes from; printed beside what a run reached."""

    source: str | None = option(
        None, "the paper that an experiment follows; printed at the end beside what the run reached"
    )
    published: str | None = option(None, "what the paper reports, with its protocol")
