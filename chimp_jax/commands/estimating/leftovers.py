"""Files in the folder of `estimate` that no run will use again."""

from collections.abc import Sequence

from etils import epath

from chimp_jax.members import Member
from chimp_jax.streamed.saved import CLIPS, ROWS, find_answered, places_of, request_of
from data_prep.files import read_json, remove_unfinished
from data_prep.workers.clip_record import ClipTask


def remove_leftovers(out, tasks: Sequence[ClipTask], members: Sequence[Member]) -> int:
    """Removes unfinished files of killed runs and superseded predictions. Returns the number of files.

    out: the folder of the command, which holds its lock. Predictions are superseded if they answer the questions of
    this run, and other files answer them: a clip has changed, or was lost and tried again. Answers to other questions
    stay, because the same command with other flags uses them.
    """
    work = epath.Path(out) / 'work'
    n_removed = remove_unfinished(out, deep=False) + remove_unfinished(work)
    if '://' in str(out) or not work.exists():
        return n_removed
    for name in ('distances', 'tracks'):
        n_removed += remove_unfinished(epath.Path(out) / name)
    answered = find_answered(tasks, members, work)
    used = {(saved.folder, saved.batch) for results in answered.saved.values() for saved in results}
    requests = {task.video_id: request_of(task) for task in tasks}
    for place, _ in places_of(work, members):
        whole = set()
        for path in place.glob(f'*{CLIPS}'):
            batch = path.name.removesuffix(CLIPS)
            asked_now = [requests.get(clip['video_id']) == clip.get('request') for clip in read_json(path) or []]
            if (place.name, batch) in used or not all(asked_now):
                whole.add(batch)
            else:
                path.unlink()
                n_removed += 1
        for path in place.glob(f'*{ROWS}'):  # written before its list of clips
            if path.name.removesuffix(ROWS) not in whole:
                path.unlink()
                n_removed += 1
    return n_removed
