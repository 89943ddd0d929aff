"""TensorBoard's content, read back from the event files: charts with curves, comparable rows, ends of runs."""

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, metadata

from gantrain import builders
from gantrain.builders.charts import METRICS, charts_of
from gantrain.builders.tensorboard_page import write_introduction
from gantrain.config import Config, to_dict
from gantrain.metrics.metric import MetricValue
from gantrain.metrics.registry import lower_is_better
from gantrain.run_io.run_folder import RunFolder
from gantrain.run_io.status import FAILED, FINISHED, STOPPED
from gantrain.training.nan_guard import NotFiniteError
from tests.conftest import TINY, compose
from tests.written_runs import write_request


def events_of(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={TENSORS: 0})
    events.Reload()
    return events


def charts_in(run: Path) -> list[layout_pb2.Chart]:
    (event,) = events_of(run).Tensors("custom_scalars__config__")
    page = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return [chart for category in page.category for chart in category.chart]


def hparams_in(run: Path, tag: str) -> Any:
    content = events_of(run).SummaryMetadata(tag).plugin_data.content
    read = {
        metadata.EXPERIMENT_TAG: metadata.parse_experiment_plugin_data,
        metadata.SESSION_START_INFO_TAG: metadata.parse_session_start_info_plugin_data,
        metadata.SESSION_END_INFO_TAG: metadata.parse_session_end_info_plugin_data,
    }
    return read[tag](content)


def tags_in_order(run: Path) -> list[str]:
    files = sorted((run / "tensorboard").iterdir())
    return [value.tag for path in files for event in EventFileLoader(str(path)).Load() for value in event.summary.value]


LOOK = ("log.every_steps=1", "log.diagnostics_every_steps=1", "schedule.steps=3")
POINTS = ("data=ring", "model=mlp", "schedule.steps=3", "schedule.batch_size=8", "metrics.samples=50", "device=cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ((*TINY, *LOOK, "loss.gen=kl", "metrics.networks=[ema,raw]"), "logit/real"),
        ((*TINY, *LOOK, "loss.disc=hinge", "cond=acgan"), "D/real"),
        ((*TINY, *LOOK, "loss.disc=wasserstein", "cond=projection"), "D/real"),
        ((*TINY, *LOOK, "augment=ada", "metrics.names=[colors,duplicates,neighbors]"), "metric/modes_ema"),
        ((*TINY, "schedule.steps=3", "log.diagnostics_every_steps=0", "metrics=none"), "generator_weight/mean"),
        ((*POINTS, "log.every_steps=1", "log.diagnostics_every_steps=1"), "logit/real"),
    ],
    ids=["ratio", "hinge-acgan", "wasserstein-projection", "ada-other-metrics", "nothing-looked-at", "points"],
)
def test_every_chart_has_curves_in_the_run_that_names_it(words: tuple[str, ...], missing: str, tmp_path: Path) -> None:
    builders.run(compose(*words), tmp_path / "run")
    charts = charts_in(tmp_path / "run")
    written = events_of(tmp_path / "run").Tags()["scalars"]
    assert len(charts) >= 4
    for chart in charts:
        patterns = list(chart.multiline.tag)
        for band in chart.margin.series:
            patterns += [f"{re.escape(tag)}$" for tag in (band.value, band.lower, band.upper)]
        assert patterns, chart.title
        for pattern in patterns:
            assert any(re.match(pattern, tag) for tag in written), (chart.title, pattern)
    assert len({chart.title for chart in charts}) == len(charts)
    named = [pattern for chart in charts for pattern in chart.multiline.tag]
    assert not any(re.match(pattern, missing) for pattern in named)
    directed = {"loss/discriminator", "loss/generator", "gradient_norm/generator"}
    directed |= {tag for tag in written if tag.startswith("metric/") and lower_is_better(_figure(tag)) is not None}
    assert all(any(re.match(pattern, tag) for pattern in named) for tag in directed), directed


def _figure(tag: str) -> str:
    return tag.removeprefix("metric/").rpartition("_")[0]


def test_charts_of_metrics_are_those_of_their_specs() -> None:
    config = compose("metrics.names=[fid,precision,recall,classes]", "data=cifar10")
    titles = [chart.title for chart in charts_of(config) if chart.section == METRICS]
    assert titles[0] == "FID: lower is better"
    assert len(titles) == 4, "precision and recall share one"
    labeled = compose("metrics.names=[classes]", "data=cifar10", "cond=acgan")
    assert len([chart for chart in charts_of(labeled) if chart.section == METRICS]) == 3, "and the accuracy"


def test_a_band_is_the_mean_and_a_standard_deviation_to_each_side(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", {}, "cpu")
    folder.scalars(7, {"log_ratio/real": 1.5, "log_ratio/real_std": 0.25, "log_ratio/fake": -2.0})
    folder.close()
    events = events_of(tmp_path / "run")
    band = [events.Scalars(f"log_ratio/real{end}")[0].value for end in ("_minus_std", "_plus_std")]
    assert band == [1.25, 1.75]
    assert "log_ratio/fake_minus_std" not in events.Tags()["scalars"]
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert set(row) == {"step", "kind", "log_ratio/real", "log_ratio/real_std", "log_ratio/fake"}


def open_folder(path: Path, config: Config, warnings: Sequence[str] = ()) -> RunFolder:
    introduce = partial(write_introduction, config=config, folder=path, warnings=warnings)
    return RunFolder(path, to_dict(config), "cpu", introduce=introduce)


def write_sweep(root: Path) -> list[Path]:
    """Three runs of a sweep over loss.gen and a group, that end in three ways."""
    fixed = [*TINY, "metrics.networks=[ema]"]
    root.mkdir()
    (root / "sweep.json").write_text(json.dumps({"words": [*fixed, "loss.gen=alt,kl", "optimizer=dcgan,ttur"]}))
    folders = []
    for number, (varied, state) in enumerate(
        (
            (["loss.gen=alt", "optimizer=dcgan"], FINISHED),
            (["loss.gen=kl", "optimizer=ttur"], FAILED),
            (["loss.gen=kl", "optimizer=dcgan"], None),
        )
    ):
        folder = root / f"{number:03d}"
        config = compose(*fixed, *varied)
        write_request(folder, number, [*fixed, *varied], to_dict(config))
        written = open_folder(folder, config, warnings=["kl is known to be crushed"])
        for step, (modes, kl) in enumerate(((10.0, 3.0), (30.0, 2.0), (20.0, 2.5)), start=1):
            written.measurements(step, "ema", [MetricValue("modes", modes), MetricValue("modes_kl", kl)])
        if state is not None:
            written.end(state, 3, None if state == FINISHED else "the disk is full")
        written.close()
        folders.append(folder)
    return folders


def test_runs_of_a_sweep_have_the_same_columns_with_what_varies_first(tmp_path: Path) -> None:
    runs = write_sweep(tmp_path / "sweep")
    columns = [[info.name for info in hparams_in(run, metadata.EXPERIMENT_TAG).hparam_infos] for run in runs]
    assert columns[0] == columns[1] == columns[2]
    assert len(columns[0]) == len(set(columns[0])) <= 12
    assert {"objective", "model.name", "seed", "loss.gen", "optimizer"} <= set(columns[0])
    infos = hparams_in(runs[0], metadata.EXPERIMENT_TAG).hparam_infos
    assert {info.name for info in infos if info.differs} == {"objective", "loss.gen", "optimizer"}
    rows = [hparams_in(run, metadata.SESSION_START_INFO_TAG).hparams for run in runs]
    assert [row["objective"].string_value for row in rows] == [f"disc=gan gen={gen}" for gen in ("alt", "kl", "kl")]
    assert [row["optimizer"].string_value for row in rows] == ["dcgan", "ttur", "dcgan"]
    assert [row["model.width"].number_value for row in rows] == [4, 4, 4]
    assert all(set(columns[0]) <= set(row) for row in rows)
    assert rows[0]["model.d_width"].string_value == "null"
    assert rows[0]["data.flip"].WhichOneof("kind") == "bool_value"
    assert not {"name", "device", "resume", "data.root"} & set(rows[0])


def test_a_row_has_the_last_and_best_value_of_each_metric_during_the_run(tmp_path: Path) -> None:
    live = write_sweep(tmp_path / "sweep")[2]
    shown = [info.name.tag for info in hparams_in(live, metadata.EXPERIMENT_TAG).metric_infos]
    assert shown[:4] == ["metric/modes_ema", "best/modes_ema", "metric/modes_kl_ema", "best/modes_kl_ema"]
    events = events_of(live)
    assert [events.Scalars(tag)[-1].value for tag in shown[:4]] == [20.0, 30.0, 2.5, 2.0]
    assert [event.step for event in events.Scalars("best/modes_kl_ema")] == [1, 2]
    assert metadata.SESSION_END_INFO_TAG not in tags_in_order(live)


def test_a_single_run_shows_what_differs_from_the_defaults(tmp_path: Path) -> None:
    open_folder(tmp_path / "run", compose(*TINY, "optimizer.beta1_g=0.25")).close()
    infos = hparams_in(tmp_path / "run", metadata.EXPERIMENT_TAG).hparam_infos
    names = {info.name for info in infos}
    assert {"optimizer.beta1_g", "model.latent_dim", "schedule.ema_decay", "objective", "seed"} <= names
    assert not {"optimizer.beta1_d", "loss.rule", "name", "device"} & names
    assert sum(info.differs for info in infos) == 5  # as many as TensorBoard shows at first


def test_ends_and_reasons_are_written_and_removed_on_resume(tmp_path: Path) -> None:
    finished, failed, _ = write_sweep(tmp_path / "sweep")
    status = [hparams_in(run, metadata.SESSION_END_INFO_TAG).status for run in (finished, failed)]
    assert status == [api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE]
    (reason,) = events_of(failed).Tensors("run/end/text_summary")
    assert reason.tensor_proto.string_val[0].decode() == "failed at step 3: the disk is full"
    assert "run/end/text_summary" not in tags_in_order(finished)
    tree = to_dict(compose(*TINY, "loss.gen=kl", "optimizer=ttur"))
    written = RunFolder(failed, tree, "cpu", resume_step=2)
    assert metadata.SESSION_END_INFO_TAG not in tags_in_order(failed)
    written.measurements(3, "ema", [MetricValue("modes", 25.0)])
    written.measurements(4, "ema", [MetricValue("modes", 40.0)])
    written.end(FINISHED, 4)
    written.close()
    tags = tags_in_order(failed)
    once = ("custom_scalars__config__", "run/text_summary", *(metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG))
    assert [tags.count(tag) for tag in (*once, metadata.SESSION_END_INFO_TAG)] == [1, 1, 1, 1, 1]
    assert hparams_in(failed, metadata.SESSION_END_INFO_TAG).status == api_pb2.STATUS_SUCCESS
    # 25 at step 3 is no best: 30 was measured at step 2, before the checkpoint.
    assert [(event.step, event.value) for event in events_of(failed).Scalars("best/modes_ema")] == [
        (1, 10.0),
        (2, 30.0),
        (4, 40.0),
    ]


def test_the_account_describes_the_run(tmp_path: Path) -> None:
    run = write_sweep(tmp_path / "sweep")[1]
    (event,) = events_of(run).Tensors("run/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert "### disc=gan gen=kl" in text
    assert "`u log u`" in text  # Poole's rule for KL
    assert "`sp(-v), sp(v)`" in text
    assert "**warning**: kl is known to be crushed" in text
    assert "| model.width | 4 | 128 |" in text
    assert "loss.rule" not in text
    assert "loss.gen=kl optimizer=ttur" in text.partition("python -m gantrain")[2].splitlines()[0]


def test_tensorboard_shows_that_a_run_failed(tmp_path: Path) -> None:
    config = compose(*TINY, "loss.disc=pearson", "loss.gen=kl", "optimizer.lr_d=1", "schedule.steps=30")
    with pytest.raises(NotFiniteError):
        builders.run(config, tmp_path / "run")
    assert hparams_in(tmp_path / "run", metadata.SESSION_END_INFO_TAG).status == api_pb2.STATUS_FAILURE
    (reason,) = events_of(tmp_path / "run").Tensors("run/end/text_summary")
    assert re.search(r"failed at step \d+: .*is not finite", reason.tensor_proto.string_val[0].decode())


def test_a_run_stopped_by_the_doctor_is_not_a_success(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", {}, "cpu")
    folder.end(STOPPED, 5, "crushed_generator at step 5")
    folder.close()
    assert hparams_in(tmp_path / "run", metadata.SESSION_END_INFO_TAG).status == api_pb2.STATUS_FAILURE
