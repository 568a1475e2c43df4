"""Distances for every clip of a folder, ready for distance sampling:

    chimp-distance estimate CLIPS --members RUNS --out DIR

Every second of every clip, or every --every seconds, or the seconds with an animal (--detections), or those of a table
(--targets). DIR gets distances.csv, clips.csv (a row for every clip, readable or not), summary.json and the --format
asked for. The same command goes on where it was interrupted; with other flags it computes anew only what they change.
Distances that a person types into DIR/corrections.csv (video_id,time,distance) replace the estimates on the next run.
"""

import argparse
import datetime
import json
import logging
import os

import pandas as pd
from etils import epath

from chimp_jax import members
from chimp_jax.clip_stream import Streamed, stream_clips
from chimp_jax.commands import combining
from chimp_jax.commands.arguments import add_compile_cache, metres_list
from chimp_jax.ensemble.prediction_tables import read_cells, recipe_means
from chimp_jax.ensemble.results import write_table
from chimp_jax.field import calibrate, corrections, estimates, intervals, stations
from chimp_jax.field.exports import formats
from chimp_jax.scoring import Panel
from data_prep.archive import Archive
from data_prep.files import write_json
from data_prep.job import Job
from data_prep.plan import Plan, make_plan, make_tasks
from data_prep.progress import Progress
from data_prep.workers.clip_record import ClipTask

NO_FOLDER = '.'  # the site of clips that lie in no folder of their own, for calibration

log = logging.getLogger(__name__)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance estimate', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('clips', metavar='CLIPS', help='folder of the clips; local or gs://')
    add('--members', required=True, help='folder of train.py --workdir')
    add('--out', required=True, help='folder for what is estimated')
    add('--every', type=int, dest='every_s', help='seconds between the targets (default: 1)')
    add('--detections', help='JSON of MegaDetector or PyTorch-Wildlife: the seconds with an animal')
    add('--min_confidence', '--min-confidence', type=float, default=0.2, help='of a detection')
    add('--targets', help='CSV with the columns video_id and time: these seconds')
    add('--details', action='store_true', help='adds a column for each recipe')
    add('--workers', type=int, default=os.cpu_count(), help='processes that decode')
    combining.add_flags(parser)
    add_compile_cache(parser)
    add('--coverage', type=float, default=0.9, help='of the interval distance_lower..distance_upper (default: 0.9)')
    add('--calibrate', metavar='KNOWN', help='CSV video_id,time,distance: 5 or more measured distances of a site')
    add('--deployments', help='CSV of the camera stations; without it a station is a folder of clips')
    add('--format', nargs='+', default=[], choices=formats.FORMATS, help='files for other programs; docs/exports.md')
    add('--snapshot', type=int, dest='snapshot_s', help='seconds between snapshot moments')
    add('--theta', type=float, dest='theta_deg', help="degrees: the camera's horizontal angle of view")
    add('--cutpoints', type=metres_list, help='metres, such as 0,2,4,6,9,13: limits of the distance bins')
    add('--truncation', type=float, help='metres: farther animals are left out')
    add('--camtrap_package', '--camtrap-package', help='folder of your Camtrap DP, with its datapackage.json')
    return parser


def run(options: argparse.Namespace) -> int:
    out = epath.Path(options.out)
    found = members.find_members(options.members)
    combined = combining.choose_combination(options, found)
    survey, known, corrected = _read_inputs(options, out)
    archive = Archive([options.clips])
    site = stations.stations_of(archive.clips(), survey.deployments).set_axis(
        archive.clips()
    )  # refused before the work
    plan, tasks = _plan(options)
    panel = Panel()
    device = f'{len(panel.devices)} x {panel.devices[0].device_kind}'
    log.info('%d members on %s, %d clips', len(found), device, len(tasks))
    progress = Progress('estimate', len(tasks), work=len(tasks) * len(found))
    streamed = stream_clips(tasks, found, out / 'work', panel, options.workers, progress)

    oof = _out_of_fold(combined, found)
    distance_m = combined.distance(streamed.answers())
    calibration = _calibration(known, streamed, distance_m, site, oof)
    rows = estimates.estimate_rows(
        streamed,
        distance_m,
        recipe_means(streamed.answers()),
        streamed.rows['video_id'].map(site).replace('', NO_FOLDER),
        oof,
        options.coverage,
        calibration,
    )
    rows = estimates.complete_rows(rows, _lost(plan, tasks, streamed), corrected).round(4)
    problems = {problem.video_id: problem.reason for problem in plan.problems()}
    clips = estimates.clip_rows(site, streamed, rows, problems, 'no animal' if options.detections else 'not asked')
    return _write(options, rows, clips, survey, combined, _about(found, device, options.coverage, oof, calibration))


def _read_inputs(options: argparse.Namespace, out: epath.Path):
    """The survey, the known distances and the corrections; raises ValueError for what does not fit, before any work."""
    if options.every_s is not None and (options.targets or options.detections):
        raise ValueError('--every is for every second of a clip, not for the seconds of --targets or --detections')
    if not 0 < options.coverage < 1:
        raise ValueError(f'--coverage={options.coverage}: give a share above 0 and below 1, such as 0.9')
    survey = _survey(options)
    formats.check(options.format, survey)
    known = calibrate.read_known(options.calibrate) if options.calibrate else None
    typed = out / 'corrections.csv'
    return survey, known, corrections.read_corrections(typed) if typed.exists() else None


def _plan(options: argparse.Namespace) -> tuple[Plan, list[ClipTask]]:
    job = Job(
        out=options.out,
        clips_full=(options.clips,),
        tables=options.targets,
        detections=options.detections,
        min_confidence=options.min_confidence,
        every_s=1 if options.every_s is None else options.every_s,
        workers=options.workers,
    )
    plan = make_plan(job)
    for note in plan.notes():
        log.info('note: %s', note)
    return plan, make_tasks(plan, job)


def _survey(options: argparse.Namespace) -> formats.Survey:
    return formats.Survey(
        deployments=stations.read_deployments(options.deployments) if options.deployments else None,
        every_s=1 if options.every_s is None else options.every_s,
        snapshot_s=options.snapshot_s,
        theta_deg=options.theta_deg,
        cutpoints_m=options.cutpoints,
        truncation_m=options.truncation,
        package=options.camtrap_package,
    )


def _out_of_fold(combined: combining.Combined, found: list[members.Member]) -> estimates.OutOfFold | None:
    """The ensemble's own OOF rows, and their sites from the clips.csv that training has left beside the members."""
    if combined.oof is None:
        return None
    data = found[0].config.data
    video_id = combined.oof.index.get_level_values('video_id').to_numpy(str)
    path, site = found[0].folder.parent / 'clips.csv', pd.Series('', video_id)
    if path.exists():
        table = read_cells(path, ['video_id', 'site']).drop_duplicates('video_id').set_index('video_id')
        site = table['site'].reindex(video_id).fillna('')
    else:
        log.info('note: %s is not there; intervals count each clip as a site of its own', path)
    return estimates.OutOfFold(
        estimate_m=combined.combination.apply(combined.oof),
        label_m=combined.labels.to_numpy(float),
        spread_m=intervals.comparable_spread(combined.oof),
        site=intervals.site_groups(video_id, site),
        folds=data.folds,
    )


def _calibration(
    known, streamed: Streamed, distance_m: pd.Series, site: pd.Series, oof
) -> calibrate.Calibration | None:
    if known is None:
        return None
    rows = streamed.rows[['video_id', 'time']].assign(distance=distance_m.to_numpy())
    matched, lost = calibrate.match_known(rows, known)
    for line in lost:
        log.info('note: %s', line)
    effects = calibrate.ASSUMED_EFFECTS if oof is None else oof.site_effects()
    where = matched['video_id'].map(site).replace('', NO_FOLDER)
    return calibrate.fit_calibration(matched['estimate'], matched['distance'], where, effects)


def _lost(plan: Plan, tasks: list[ClipTask], streamed: Streamed) -> pd.DataFrame:
    """(video_id, time, reason) of the targets without a distance."""
    lost = [tuple(target) for targets in plan.targets.values() for target in targets.lost]
    there = set(zip(streamed.rows['video_id'], streamed.rows['time'], strict=True))
    problems = streamed.clips.set_index('video_id')['problem']
    for task in tasks:
        wanted = task.target_time_s or []
        lost += [(task.video_id, t, problems[task.video_id]) for t in wanted if (task.video_id, t) not in there]
    return pd.DataFrame(lost, columns=['video_id', 'time', 'reason'])


def _about(found: list[members.Member], device: str, coverage: float, oof, calibration) -> dict:
    """Of summary.json, what does not depend on the rows."""
    about = {
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'device': device,
        'members': [member.name for member in found],
    }
    if oof is None:
        about['no_interval'] = 'the members have no out-of-fold predictions (oof.csv of every fold)'
    else:
        about |= {'coverage': coverage, 'interval': oof.intervals(coverage).note}
    if calibration is not None:
        about['calibration'] = json.loads(calibration.table().to_json(orient='records'))
    return about


def _write(options: argparse.Namespace, rows, clips, survey: formats.Survey, combined, about: dict) -> int:
    """Everything that people and other programs read; says what there is and returns the exit code."""
    out = epath.Path(options.out)
    write_table(out / 'distances.csv', rows if options.details else rows[estimates.COLUMNS])
    write_table(out / 'clips.csv', clips)
    folder = options.clips if '://' in options.clips else os.path.abspath(options.clips)
    write_json(out / 'options.json', {**vars(options), 'clips': folder})
    summary = about | {
        'clips': clips['status'].value_counts().to_dict(),
        'targets': len(rows),
        'distances': int(rows['distance'].notna().sum()),
        'flags': rows['flags'].str.split().explode().value_counts().to_dict(),
        'combination': json.loads(combined.combination.to_json()),
    }
    for name in options.format:
        summary[name] = formats.write(name, rows, clips, survey, out, about['date'])
    write_json(out / 'summary.json', summary)
    return _say(out, rows, clips, summary, combined)


def _say(out: epath.Path, rows: pd.DataFrame, clips: pd.DataFrame, summary: dict, combined) -> int:
    print('\n'.join(combined.describe()))
    for name in ('no_interval', 'interval', *formats.FORMATS):
        if summary.get(name):
            print(f'{name}: {summary[name]}')
    for site in summary.get('calibration', []):
        after = '' if site['mae_with_m'] is None else f', {site["mae_with_m"]:.2f} m with the correction'
        print(
            f'calibration of {site["site"]}: {site["n"]} known distances, leave-one-out MAE '
            f'{site["mae_without_m"]:.2f} m{after}: ' + ('applied' if site['applied'] else site['reason'])
        )
    bad = clips[clips['status'].isin(['failed', 'partly'])]
    for row in bad.itertuples():
        print(f'{row.status}: {row.video_id}: {row.reason}')
    print(f'{summary["distances"]} distances of {(clips["seconds"] > 0).sum()} clips in {out}/distances.csv')
    return 3 if len(bad) or rows['distance'].isna().any() else 0
