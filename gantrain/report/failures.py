"""Which runs did not finish, and why; what the doctor found."""

from gantrain.report.markup import Section, render
from gantrain.report.run_groups import RunGroup, seed_of
from gantrain.report.run_table import RunTable, first_line, folder_names
from gantrain.run_io.run_reader import BROKEN, RunRecord
from gantrain.run_io.status import FAILED, FINISHED, INTERRUPTED, PRUNED, RUNNING, SKIPPED, STOPPED

MEANING = {
    FAILED: "ended by an error",
    BROKEN: "the process is gone, e.g. killed; resume= continues from the last checkpoint",
    STOPPED: "ended by the doctor (doctor.stop)",
    PRUNED: "ended by the sweep in favor of better runs",
    SKIPPED: "not started, because the pair does not exist (sweep.invalid_pairs=skip)",
    INTERRUPTED: "interrupted from the keyboard; resume= continues from the last checkpoint",
    RUNNING: "still running: its last values are not final",
}
"""States of unfinished runs, the worst first."""


def make_failures(table: RunTable) -> Section:
    """The unfinished runs with their reasons, then the doctor's findings by name."""
    runs = [(group, run) for group in table.groups for run in group.runs]
    names = folder_names(table.records)
    folders = {run.folder: name for run, name in zip(table.records, names, strict=True)}

    def described(group: RunGroup, run: RunRecord) -> dict[str, object]:
        return {
            "label": group.label,
            "seed": seed_of(run),
            "folder": folders[run.folder],
            "state": run.state,
            "step": run.status.step,
            "steps": run.status.steps,
            "first": first_line(run.reason),
            "reason": run.reason or "",
        }

    unfinished = [
        {"state": state, "meaning": meaning, "runs": [described(*pair) for pair in runs if pair[1].state == state]}
        for state, meaning in MEANING.items()
    ]
    findings: dict[str, list[dict[str, object]]] = {}
    for group, run in runs:
        for row in run.findings:
            findings.setdefault(str(row["name"]), []).append({**described(group, run), "finding": row})
    html = render(
        "failures.html.j2",
        unfinished=[state for state in unfinished if state["runs"]],
        finished=sum(run.state == FINISHED for _, run in runs),
        of=len(runs),
        findings=sorted(findings.items(), key=lambda pair: -len(pair[1])),
    )
    return Section("failures", "What went wrong", html)
