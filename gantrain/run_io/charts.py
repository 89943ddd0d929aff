"""TensorBoard's custom scalars: the story of the pair on one page, each chart named after what to look for."""

from collections.abc import Iterator
from dataclasses import dataclass

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2

from gantrain.config import Config
from gantrain.metrics.registry import value_specs

GAME, FIGURES, HEALTH = SECTIONS = ("the game", "the figures", "the health of the pair")
LOW, HIGH = "_minus_std", "_plus_std"
"""What is hung on a mean's tag for the bounds of its band; they are written to TensorBoard only."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Tags that are read together.

    Attributes:
        section: one of `SECTIONS`.
        title: what to look for.
        tags: regular expressions, matched from a tag's beginning; of a chart with `bands`, the tags of the means.
        bands: whether each mean is drawn with its `LOW` and `HIGH`.
    """

    section: str
    title: str
    tags: tuple[str, ...]
    bands: bool = False


def figures_of(config: Config) -> list[str]:
    """The values with a direction that the run's metrics give, the headline first."""
    values = [value for spec in config.metric_specs for value in spec.values]
    return [value.name for value in values if value.better and (not value.conditional or config.cond.name != "none")]


def charts_of(config: Config) -> list[Chart]:
    """The charts to which this run gives something, in the order of the page."""
    return [*_game(config), *_figures(config), *_health(config)]


def layout(charts: list[Chart]) -> Summary:
    """The page as TensorBoard reads it; of runs with different charts it shows them all."""
    made = layout_pb2.Layout()
    for section in SECTIONS:
        inside = [chart for chart in charts if chart.section == section]
        if inside:
            made.category.add(title=section, chart=[_drawn(chart) for chart in inside])
    content = TensorProto(dtype="DT_STRING", string_val=[made.SerializeToString()], tensor_shape=TensorShapeProto())
    kind = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="custom_scalars"))
    return Summary(value=[Summary.Value(tag="custom_scalars__config__", tensor=content, metadata=kind)])


def with_bands(values: dict[str, float]) -> dict[str, float]:
    """The bounds mean ± std, by tag, of each value whose standard deviation is there as NAME_std."""
    found: dict[str, float] = {}
    for name, mean in values.items():
        std = values.get(f"{name}_std")
        if std is not None:
            found |= {name + LOW: mean - std, name + HIGH: mean + std}
    return found


def _drawn(chart: Chart) -> layout_pb2.Chart:
    if chart.bands:
        bands = [layout_pb2.MarginChartContent.Series(value=t, lower=t + LOW, upper=t + HIGH) for t in chart.tags]
        return layout_pb2.Chart(title=chart.title, margin=layout_pb2.MarginChartContent(series=bands))
    return layout_pb2.Chart(title=chart.title, multiline=layout_pb2.MultilineChartContent(tag=chart.tags))


def _game(config: Config) -> Iterator[Chart]:
    objective = config.loss.make()
    looked = config.log.diagnostics_every_steps != 0
    if looked:
        yield Chart(
            GAME,
            "D's loss: far below the level line, its best at q = p, D wins; on the line it guesses",
            (r"loss/discriminator$", r"loss/discriminator_at_q=p$"),
        )
    else:
        yield Chart(GAME, "D's loss", (r"loss/discriminator$",))
    yield Chart(GAME, "G's loss, in its objective's own unit: compare courses, not heights", (r"loss/generator$",))
    if objective.has_log_ratio:
        yield Chart(GAME, "D(x), D(G(z)): both to ½ in an even game; 1 and 0: D has won", (r"D/real$", r"D/generated$"))
        yield Chart(
            GAME,
            "log r of real and of fakes, mean ± std: to 0 from above and from below; drifting apart: D wins",
            ("log_ratio/real", "log_ratio/fake"),
            bands=True,
        )
    else:
        yield Chart(
            GAME, "v of real and of fakes: apart D wins, together it guesses", (r"logit/real$", r"logit/generated$")
        )
    if looked:
        yield Chart(
            GAME,
            "G's gradient weights: share near 0 (saturated; at 1 no gradient reaches G), share that counts (effective)",
            (r"generator_weight/saturated$", r"generator_weight/effective_share$"),
        )
        yield Chart(GAME, "G's mean gradient weight: towards 0 G stops learning", (r"generator_weight/mean$",))


def _figures(config: Config) -> Iterator[Chart]:
    specs = value_specs()
    tags: dict[str, list[str]] = {}
    for name in figures_of(config):
        tags.setdefault(specs[name].chart_title, []).append(rf"metric/{name}_(ema|raw)$")
    for title, patterns in tags.items():
        yield Chart(FIGURES, title, tuple(patterns))


def _health(config: Config) -> Iterator[Chart]:
    objective = config.loss.make()
    looked = config.log.diagnostics_every_steps != 0
    if looked:
        yield Chart(HEALTH, "pairs that D ranks right: ½ it guesses, 1 it has won", (r"discriminator/rank_accuracy$",))
    if objective.has_log_ratio and looked:
        yield Chart(HEALTH, "calibration error of D: 0 for a true probability", (r"D/calibration_error$",))
        yield Chart(
            HEALTH,
            "E_p[r], E_q[1/r], typical: 1 for a calibrated ratio",
            (r"ratio/typical_E_[pq]\[(1/)?r\]$",),
        )
    yield Chart(HEALTH, "gradient norms: a side near 0 stands still, leaps are instability", (r"gradient_norm/",))
    if looked:
        yield Chart(
            HEALTH,
            "successive gradients of G, cosine: below 0 each step takes back the last",
            (r"generator_gradient/cosine$",),
        )
        yield Chart(
            HEALTH,
            "variety against the data's: 1 as varied, 0 collapsed; energy: 0 the same distribution",
            (r"similarity/",),
        )
        if config.data.spec.has_test:
            yield Chart(
                HEALTH,
                "overfitting of D: held_out leaves trained, and goes to generated",
                (r"overfitting/logit_(trained|held_out|generated)$",),
            )
    if config.cond.name != "none":
        yield Chart(HEALTH, "labels: share that D reads right", (r"class_(accuracy|top_score)/",))
    if config.augment.target is not None:
        yield Chart(HEALTH, "ADA's p: it rises as D overfits", (r"augment/p$",))
