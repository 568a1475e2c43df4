"""Renders camera-trap clips with known distances: python -m data_prep.simulate --out DIR

What comes out depends on seed and difficulty, not on the number of workers.
"""

import argparse
import os
import time
from pathlib import Path

import av

from data_prep.simulator import tables
from data_prep.simulator.frames import frames
from data_prep.simulator.tables import ClipPlan, Sighting
from data_prep.workers.guard import WorkerDied, WorkerError, run_guarded

JOB_DEADLINE_S = 900  # for the clips of one site, which take a minute on a busy machine


def render_clip(plan: ClipPlan, out: Path) -> list[Sighting]:
    """Writes OUT/full/<id>, OUT/down/<id> and, last, what is true of it to OUT/truth/<id>.json.

    A clip that has its truth is left as it is.
    """
    truth = out / 'truth' / f'{plan.video_id}.json'
    if truth.exists():
        return tables.read_sightings(truth)
    paths = [out / stream / plan.video_id for stream in ('full', 'down')]
    parts = [path.with_name(f'{path.name}.{os.getpid()}.part') for path in paths]
    for folder in (truth.parent, *(path.parent for path in paths)):
        folder.mkdir(parents=True, exist_ok=True)
    widths = (plan.width_px, tables.down_width_px(plan.width_px))
    outputs = [_open_output(part, plan, width) for part, width in zip(parts, widths, strict=True)]
    sightings, shown, packed = [], None, []
    for index, (*pictures, sighting) in enumerate(frames(plan)):
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
        sightings += [sighting] if sighting else []
    for (container, stream), part, path in zip(outputs, parts, paths, strict=True):
        container.mux(stream.encode(None))
        container.close()
        os.replace(part, path)
    tables.write_sightings(truth, sightings)
    return sightings


def _open_output(path: Path, plan: ClipPlan, width_px: int):
    container = av.open(str(path), 'w', format='mp4' if plan.codec == 'libx264' else 'avi')
    # the faint signal of an overexposed clip needs fine steps, which cost little there
    usual = {'libx264': 30 if plan.width_px > 640 else 28, 'mpeg4': 5, 'mjpeg': 7}[plan.codec]
    fine = {'libx264': 14, 'mpeg4': 1}.get(plan.codec)
    level = str(fine if plan.overexposed else usual)
    options = {'preset': 'ultrafast', 'crf': level}
    if plan.codec != 'libx264':
        options = {'qmin': level, 'qmax': level}
    stream = container.add_stream(plan.codec, rate=plan.frame_rate, options={**options, 'g': '60'})
    stream.width, stream.height = width_px, plan.height_px * width_px // plan.width_px
    stream.pix_fmt = 'yuvj420p' if plan.codec == 'mjpeg' else 'yuv420p'
    stream.codec_context.thread_count = 1  # there is one process a core already
    return container, stream


def simulate(out: Path, difficulty: str, seed: int, size: tables.Size, workers: int):
    """Renders all clips into OUT, then writes the tables and the contact sheet.

    Raises FolderError where OUT holds clips of other settings, WorkerError where a worker dies.
    """
    start_s = time.time()
    plans = tables.plan_clips(seed, difficulty, size)
    settings = {'seed': seed, 'difficulty': difficulty, 'size': str(size)}
    tables.claim_folder(out, settings)
    by_site = {}
    for plan in plans:  # one job a site: its still picture serves all of its clips
        by_site.setdefault(plan.site_index, []).append(plan)
    jobs = sorted(by_site.values(), key=lambda job: -sum(map(_effort, job)))
    total, done, seen = sum(map(_effort, plans)), 0.0, {}
    print(f'simulate: 0/{len(plans)} clips', end='', flush=True)
    tasks = [(job, str(out)) for job in jobs]
    for (job, _), sightings in run_guarded('data_prep.simulate:render_job', tasks, workers, lambda _: JOB_DEADLINE_S):
        if isinstance(sightings, WorkerDied):
            raise WorkerError(sightings.reason)
        seen.update(sightings)
        done += sum(map(_effort, job))
        spent_s = time.time() - start_s
        eta = f'{spent_s:.0f} s, ETA {spent_s * (total / done - 1):.0f} s'
        print(f'\rsimulate: {len(seen)}/{len(plans)} clips, {eta}  ', end='', flush=True)
    print()
    tables.write_tables(out, plans, seen)
    tables.write_contact_sheet(out, plans, seen)
    n_labels, spent_s = sum(map(len, seen.values())), time.time() - start_s
    print(f'simulate: {len(plans)} clips with {n_labels} labels in {out}, {spent_s:.0f} s')


def render_job(task) -> dict[str, list[Sighting]]:
    """task: the plans of a site's clips, and OUT. For worker processes."""
    plans, out = task
    return {plan.video_id: render_clip(plan, Path(out)) for plan in plans}


def _effort(plan: ClipPlan) -> float:
    """What a clip costs, in small pictures."""
    return 40 + plan.n_frames * (3 if plan.width_px > 640 else 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', required=True, type=Path, help='folder for clips and tables')
    parser.add_argument('--difficulty', choices=('easy', 'hard'), default='easy')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--quick', action='store_true', help='38 clips of 8 to 10 s, not 262')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    args = parser.parse_args()
    if args.workers < 1 or args.seed < 0:
        raise SystemExit('simulate: --workers must be at least 1 and --seed at least 0')
    size = tables.QUICK_SIZE if args.quick else tables.FULL_SIZE
    try:
        simulate(args.out, args.difficulty, args.seed, size, args.workers)
    except tables.FolderError as error:
        raise SystemExit(f'simulate: {error}') from error
    except WorkerError as error:
        raise SystemExit(f'\nsimulate: {error}; the same command goes on from there') from error


if __name__ == '__main__':
    main()
