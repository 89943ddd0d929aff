"""Which runs did not finish, and why; what the doctor found in which."""

from gantrain.report.markup import render
from gantrain.report.outcomes import first_line, folder_names
from gantrain.report.run_groups import RunGroup, seed_of
from gantrain.report.section import Section
from gantrain.run_io.run_reader import BROKEN, RunRecord
from gantrain.run_io.status import FAILED, FINISHED, INTERRUPTED, PRUNED, RUNNING, SKIPPED, STOPPED

MEANING = {
    FAILED: "ended by an error",
    BROKEN: "its process is gone without a word, as after a kill; resume= goes on from its last checkpoint",
    STOPPED: "ended at the doctor's finding, by doctor.stop",
    PRUNED: "ended by the sweep, which gave its steps to others",
    SKIPPED: "not begun, as sweep.invalid_pairs=skip asks: what they ask for does not exist",
    INTERRUPTED: "ended from the keyboard; resume= goes on from its last checkpoint",
    RUNNING: "still running: its last figures are not its end's",
}
"""What each state of an unfinished run says, the worst first."""


def make_troubles(run_groups: list[RunGroup]) -> Section:
    """The unfinished runs with their reasons, then the doctor's findings by name."""
    runs = [(run_group, run) for run_group in run_groups for run in run_group.runs]
    names = folder_names([run for _, run in runs])

    def described(run_group: RunGroup, run: RunRecord) -> dict[str, object]:
        return {
            "label": run_group.label,
            "seed": seed_of(run),
            "folder": names[run.folder],
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
    for run_group, run in runs:
        for row in run.findings:
            findings.setdefault(str(row["name"]), []).append({**described(run_group, run), "finding": row})
    html = render(
        "failures.html.j2",
        unfinished=[group for group in unfinished if group["runs"]],
        finished=sum(run.state == FINISHED for _, run in runs),
        of=len(runs),
        findings=sorted(findings.items(), key=lambda pair: -len(pair[1])),
    )
    return Section("troubles", "What went wrong", html)
