"""Renders camera-trap clips with known distances: python -m data_prep.simulate --out DIR

The output depends on the seed and the difficulty, not on the number of workers.
"""

import argparse
import os
import time
from pathlib import Path

import av

from data_prep import lock
from data_prep.files import RESUME, failure_line, put_in_place
from data_prep.progress import Progress
from data_prep.simulator import tables
from data_prep.simulator.frames import frames
from data_prep.simulator.notes import Seen, read_seen, write_seen
from data_prep.simulator.plan import NAMES, SIZES, ClipPlan, Size, down_width_px, plan_clips
from data_prep.simulator.sheet import write_contact_sheet
from data_prep.simulator.sound import SOUNDS, SoundWriter, has_microphone
from data_prep.workers import stopping
from data_prep.workers.guard import WorkerDied, WorkerError, run_guarded

JOB_DEADLINE_S = 900  # for the clips of one site, which take a minute on a busy machine


def render_clip(plan: ClipPlan, out: Path) -> Seen:
    """Writes OUT/full/<id>, OUT/down/<id> and, last, OUT/truth/<id>.json. Returns what was seen.

    A clip whose truth file exists is kept as it is.
    """
    truth = out / 'truth' / f'{plan.video_id}.json'
    if truth.exists():
        return read_seen(truth)
    paths = [out / stream / plan.video_id for stream in ('full', 'down')]
    parts = [path.with_name(f'{path.name}.{os.getpid()}.part') for path in paths]
    for folder in (truth.parent, *(path.parent for path in paths)):
        folder.mkdir(parents=True, exist_ok=True)
    widths = (plan.width_px, down_width_px(plan.width_px))
    outputs = [_open_output(part, plan, width) for part, width in zip(parts, widths, strict=True)]
    sound = SoundWriter(outputs[0][0], plan) if has_microphone(plan) else None
    seen, shown, packed = Seen([], []), None, []
    for index, (*pictures, noted) in enumerate(frames(plan)):
        if pictures[0] is not shown:
            shown = pictures[0]
            formats = [stream.pix_fmt for _, stream in outputs]
            packed = [
                av.VideoFrame.from_ndarray(picture, format=name)
                for picture, name in zip(pictures, formats, strict=True)
            ]
        for (container, stream), frame in zip(outputs, packed, strict=True):
            frame.pts, frame.time_base = index, 1 / plan.frame_rate
            container.mux(stream.encode(frame))
        if sound:
            sound.write((index + 1) / plan.frame_rate)
        seen.sightings.extend(noted.sightings)
        seen.moments.extend(noted.moments)
    if sound:
        sound.finish()
    for (container, stream), part, path in zip(outputs, parts, paths, strict=True):
        container.mux(stream.encode(None))
        container.close()
        put_in_place(part, path)
    write_seen(truth, seen, plan.tracked)
    return seen


def _open_output(path: Path, plan: ClipPlan, width_px: int):
    container = av.open(str(path), 'w', format='mp4' if plan.codec == 'libx264' else 'avi')
    # The faint signal of an overexposed clip requires fine steps, which cost little there.
    usual = {'libx264': 30 if plan.width_px > 640 else 28, 'mpeg4': 5, 'mjpeg': 7}[plan.codec]
    fine = {'libx264': 14, 'mpeg4': 1}.get(plan.codec)
    level = str(fine if plan.overexposed else usual)
    options = {'preset': 'ultrafast', 'crf': level}
    if plan.codec != 'libx264':
        options = {'qmin': level, 'qmax': level}
    stream = container.add_stream(plan.codec, rate=plan.frame_rate, options={**options, 'g': '60'})
    stream.width, stream.height = width_px, plan.height_px * width_px // plan.width_px
    stream.pix_fmt = 'yuvj420p' if plan.codec == 'mjpeg' else 'yuv420p'
    stream.codec_context.thread_count = 1  # each core has its own process already
    return container, stream


def simulate(
    out: Path,
    difficulty: str,
    seed: int,
    size: Size,
    workers: int,
    most_animals: int | None = None,
    sound: str = '',
):
    """Renders all clips into OUT, then writes the tables and the contact sheet.

    most_animals: in a clip; None: one, and neither its track nor a detector's results are written. sound: '', or one of
    SOUNDS, of the full copies.
    Raises FolderError if OUT holds clips of other settings, FolderInUse if another run works in OUT, WorkerError if a
    worker dies.
    """
    with lock.hold(out):
        _simulate(out, difficulty, seed, size, workers, most_animals, sound)


def _simulate(out: Path, difficulty: str, seed: int, size: Size, workers: int, most_animals: int | None, sound: str):
    start_s = time.monotonic()
    plans = plan_clips(seed, difficulty, size, most_animals, sound)
    settings = {'seed': seed, 'difficulty': difficulty, 'size': str(size)}
    settings |= {'animals': most_animals} if most_animals else {}
    settings |= {'sound': sound} if sound else {}
    tables.claim_folder(out, settings)
    by_site = {}
    for plan in plans:  # one job per site: its still picture serves all its clips
        by_site.setdefault(plan.site_index, []).append(plan)
    jobs = sorted(by_site.values(), key=lambda job: -sum(map(_effort, job)))
    seen = {}
    tasks = [(job, str(out)) for job in jobs]
    with Progress('simulate', len(plans), work=sum(map(_effort, plans))) as progress:
        for (job, _), outcome in run_guarded('data_prep.simulate:render_job', tasks, workers, lambda _: JOB_DEADLINE_S):
            if isinstance(outcome, WorkerDied):
                raise WorkerError(outcome.reason)
            seen.update(outcome)
            progress.advance(len(job), work=sum(map(_effort, job)))
    sightings = {video_id: of_clip.sightings for video_id, of_clip in seen.items()}
    tables.write_tables(out, plans, sightings, named=(most_animals or 1) > 1)
    if most_animals:
        tables.write_truth(out, plans, seen)
        tables.write_detections(out, plans, seen)
    write_contact_sheet(out, plans, sightings)
    n_labels, spent_s = sum(map(len, sightings.values())), time.monotonic() - start_s
    print(f'simulate: {len(plans)} clips with {n_labels} labels in {out}, {spent_s:.0f} s')


def render_job(task) -> dict[str, Seen]:
    """Renders the clips of one site in a worker process. task: their plans, and OUT."""
    plans, out = task
    return {plan.video_id: render_clip(plan, Path(out)) for plan in plans}


def _effort(plan: ClipPlan) -> float:
    """Returns the cost of a clip in small pictures of one animal. A further animal costs half as much."""
    return 40 + plan.n_frames * (3 if plan.width_px > 640 else 1) * (plan.n_animals + 1) / 2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', required=True, type=Path, help='folder for clips and tables')
    parser.add_argument(
        '--difficulty', choices=('easy', 'hard'), default='easy', help='hard: more species, cameras and trunks'
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of sites, animals and light')
    parser.add_argument(
        '--size',
        choices=SIZES,
        default='full',
        help='full (default): 262 clips of 15 to 43 s; sites: 112 of 8 s, of 38 sites; short: 90 of 8 s; '
        'quick: 38 of 8 to 10 s; tiny: 18 of 8 s',
    )
    parser.add_argument(
        '--animals',
        type=int,
        help=f'most animals in a clip, 1 to {len(NAMES)}; also writes animals.csv (true tracks) and detections.json '
        '(default: 1, without these files)',
    )
    parser.add_argument(
        '--sound',
        choices=SOUNDS,
        default='',
        help='adds a sound track to the full copies. animals: steps and calls that fade with distance, over wind and '
        'insects; noise: wind and insects alone',
    )
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes that render')
    args = parser.parse_args()
    if args.workers < 1 or args.seed < 0:
        raise SystemExit('simulate: --workers must be at least 1 and --seed at least 0')
    if args.animals is not None and not 1 <= args.animals <= len(NAMES):
        raise SystemExit(f'simulate: --animals {args.animals} is not possible; give a number from 1 to {len(NAMES)}')
    try:
        simulate(args.out, args.difficulty, args.seed, SIZES[args.size], args.workers, args.animals, args.sound)
    except ValueError as error:
        raise SystemExit(f'simulate: {error}') from error
    except (WorkerError, OSError) as error:
        raise SystemExit(f'simulate: {failure_line(error)}; {RESUME}') from error


if __name__ == '__main__':
    stopping.run('simulate', main)
