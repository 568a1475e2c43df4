"""Clips that were lost with their worker process, which the system may have killed: the next run tries them again.

A damaged clip stays a problem as long as its file stays the same. A clip whose worker died may be sound.
"""

from data_prep.workers.guard import WorkerDied

RUNS = 2  # in a row that lose a clip; then only --retry tries it again
RETRY = f'also tries again the clips that were lost with their worker process in {RUNS} runs in a row'


def is_due(lost_runs: int, retry: bool) -> bool:
    """Returns whether a run tries a clip again that was lost in the last `lost_runs` runs."""
    return lost_runs > 0 and (retry or lost_runs < RUNS)


def judge(died: WorkerDied, lost_runs: int) -> tuple[str, int]:
    """Returns the reason for the row of a clip, and in how many runs in a row it has been lost now.

    lost_runs: before this run.
    """
    if not died.crashed:
        return died.reason, 0
    if lost_runs + 1 < RUNS:
        return f'{died.reason}; run the same command again to try the clip again', lost_runs + 1
    return f'{died.reason}, in {lost_runs + 1} runs; the flag --retry tries the clip again', lost_runs + 1
