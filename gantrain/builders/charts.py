"""TensorBoard's custom scalars: the most important charts on one page, with titles that explain them."""

from collections.abc import Iterator
from dataclasses import dataclass

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.custom_scalar import layout_pb2

from gantrain.config import Config
from gantrain.metrics.registry import value_specs
from gantrain.run_io.tensorboard import HIGH, LOW

GAME, METRICS, HEALTH = SECTIONS = ("game", "metrics", "health")


@dataclass(frozen=True, slots=True)
class Chart:
    """Scalars in one chart.

    Attributes:
        section: one of `SECTIONS`.
        title: says what to look for.
        tags: regular expressions, matched at the start of a tag; with `bands`, the tags of the means.
        bands: whether each mean is drawn with its bounds.
    """

    section: str
    title: str
    tags: tuple[str, ...]
    bands: bool = False


def charts_of(config: Config) -> list[Chart]:
    """The charts that have scalars in this run, in the order of the page."""
    return [*_game(config), *_metrics(config), *_health(config)]


def layout(charts: list[Chart]) -> Summary:
    """The page for TensorBoard, which shows the charts of all selected runs."""
    page = layout_pb2.Layout()
    for section in SECTIONS:
        inside = [chart for chart in charts if chart.section == section]
        if inside:
            page.category.add(title=section, chart=[_message(chart) for chart in inside])
    content = TensorProto(dtype="DT_STRING", string_val=[page.SerializeToString()], tensor_shape=TensorShapeProto())
    kind = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="custom_scalars"))
    return Summary(value=[Summary.Value(tag="custom_scalars__config__", tensor=content, metadata=kind)])


def _message(chart: Chart) -> layout_pb2.Chart:
    if chart.bands:
        bands = [layout_pb2.MarginChartContent.Series(value=t, lower=t + LOW, upper=t + HIGH) for t in chart.tags]
        return layout_pb2.Chart(title=chart.title, margin=layout_pb2.MarginChartContent(series=bands))
    return layout_pb2.Chart(title=chart.title, multiline=layout_pb2.MultilineChartContent(tag=chart.tags))


def _game(config: Config) -> Iterator[Chart]:
    objective = config.loss.make()
    diagnosed = config.log.diagnostics_every_steps != 0
    if diagnosed:
        yield Chart(
            GAME,
            "D's loss: far below the line (its minimum for q = p) D wins; on the line it guesses",
            (r"loss/discriminator$", r"loss/discriminator_at_q=p$"),
        )
    else:
        yield Chart(GAME, "D's loss", (r"loss/discriminator$",))
    yield Chart(GAME, "G's loss, in units of its objective: compare trends, not heights", (r"loss/generator$",))
    if objective.has_log_ratio:
        yield Chart(GAME, "D(x), D(G(z)): near ½ in a balanced game; 1 and 0: D has won", (r"D/real$", r"D/generated$"))
        yield Chart(
            GAME,
            "log r of real and fake, mean ± std: towards 0 from above and below; diverging: D wins",
            ("log_ratio/real", "log_ratio/fake"),
            bands=True,
        )
    else:
        yield Chart(
            GAME, "v of real and fake: far apart if D wins, equal if it guesses", (r"logit/real$", r"logit/generated$")
        )
    if diagnosed:
        yield Chart(
            GAME,
            "G's gradient weights: share near 0 (saturated; 1: no gradient reaches G), effective sample size",
            (r"generator_weight/saturated$", r"generator_weight/effective_share$"),
        )
        yield Chart(GAME, "G's mean gradient weight: near 0, G stops learning", (r"generator_weight/mean$",))


def _metrics(config: Config) -> Iterator[Chart]:
    specs = value_specs()
    tags: dict[str, list[str]] = {}
    for name in config.value_names:
        tags.setdefault(specs[name].chart_title, []).append(rf"metric/{name}_(ema|raw)$")
    for title, patterns in tags.items():
        yield Chart(METRICS, title, tuple(patterns))


def _health(config: Config) -> Iterator[Chart]:
    objective = config.loss.make()
    diagnosed = config.log.diagnostics_every_steps != 0
    if diagnosed:
        yield Chart(
            HEALTH,
            "share of pairs ranked correctly by D: ½ if it guesses, 1 if it has won",
            (r"discriminator/rank_accuracy$",),
        )
    if objective.has_log_ratio and diagnosed:
        yield Chart(HEALTH, "calibration error of D: 0 for a true probability", (r"D/calibration_error$",))
        yield Chart(
            HEALTH,
            "E_p[r], E_q[1/r], typical: 1 for a calibrated ratio",
            (r"ratio/typical_E_[pq]\[(1/)?r\]$",),
        )
    yield Chart(
        HEALTH, "gradient norms: near 0, a network stops learning; jumps show instability", (r"gradient_norm/",)
    )
    if diagnosed:
        yield Chart(
            HEALTH,
            "cosine of successive gradients of G: below 0 each step reverses the last",
            (r"generator_gradient/cosine$",),
        )
        yield Chart(
            HEALTH,
            "diversity relative to the data: 1 equal, 0 collapsed; energy: 0 for equal distributions",
            (r"similarity/",),
        )
        if config.data.spec.has_test:
            yield Chart(
                HEALTH,
                "overfitting of D: held_out moves from trained to generated",
                (r"overfitting/logit_(trained|held_out|generated)$",),
            )
    if config.cond.name != "none":
        yield Chart(HEALTH, "labels: accuracy of D", (r"class_(accuracy|top_score)/",))
    if config.augment.target is not None:
        yield Chart(HEALTH, "ADA's p: rises as D overfits", (r"augment/p$",))
