"""A page in the browser where a person measures the distances of animals:

    chimp-distance label CLIPS --out labels.csv
    chimp-distance label CLIPS --out labels.csv --detect --calibrate known.csv --who Ama

The command prints an address that works on this computer alone. The page shows a second of a clip. Type the distance
and press Enter. Every answer is on the disk before the next second is shown. Run the same command again to resume.
With another --who another person measures; the command prints how well the persons agree.

With --detect or --detections the page shows the boxes of the animals, and asks for seconds with an animal. With
--members it asks for the seconds that teach most. Then the command first runs `chimp-distance estimate` into
labels.work/estimates; --estimates DIR takes finished estimates instead. --calibrate gives known distances, for lines of
equal distance and for pictures to compare with.

labels.csv is a table for data_prep.build, train, evaluate and --calibrate, and for corrections.csv of the same
estimates. labels.others.csv has the seconds without a distance. labels.known.csv has the rows of --calibrate and the
points that you clicked on the ground. labels.work keeps the journal of all answers.
"""

import argparse
import dataclasses
import getpass
import logging
import os
import webbrowser
from collections.abc import Collection

import pandas as pd
from etils import epath

from chimp_jax.field import stations
from chimp_jax.field.calibration.known_points import COLUMNS, KnownPoints, in_shares, read_known_points, table_order
from chimp_jax.field.label import tables
from chimp_jax.field.label.frames import FrameStore, clip_size_px
from chimp_jax.field.label.journal import NAME, Journal
from chimp_jax.field.label.server import LabelServer
from chimp_jax.field.label.session import LabelSession, beside
from chimp_jax.field.label.survey import LabelSurvey, survey_clips, survey_estimates
from chimp_jax.field.label_tables import named
from data_prep.archive import Archive
from data_prep.inputs.cells import tidy
from data_prep.lock import hold
from data_prep.workers.guard import GuardedCall

PER_HOUR = 300  # answers of a person with some practice
PER_STATION = 10  # distances that serve a station well
_SIZE_DEADLINE_S = 60.0

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LabellingRequest:
    """The flags of `label`."""

    clips: str
    out: str
    members: str | None
    detect: bool
    detections: str | None
    estimates: str | None
    calibrate: str | None
    deployments: str | None
    who: str
    open: bool
    workers: int

    def __post_init__(self):
        """Raises ValueError if the flags do not fit each other."""
        if not self.out.endswith('.csv') or '://' in self.out:
            raise ValueError(f'--out={self.out}: give the path of a local CSV file, such as labels.csv')
        if not self.who or ';' in self.who or not self.who.isprintable():
            raise ValueError(f'--who={self.who!r}: give a name without semicolons and line breaks')
        if self.detect and self.detections:
            raise ValueError('--detect finds the animals itself, and --detections gives them; use one of the two')
        if self.estimates and (self.members or self.detect or self.detections):
            raise ValueError('--estimates gives finished estimates; leave --members, --detect and --detections out')

    @property
    def work(self) -> epath.Path:
        return epath.Path(self.out).with_suffix('.work')

    def estimate_flags(self) -> list[str] | None:
        """Returns the command line of the estimates that the page requires, None without any."""
        if not (self.members or self.detect or self.detections):
            return None
        flags = [self.clips, '--out', str(self.work / 'estimates'), '--workers', str(self.workers)]
        flags += ['--detect'] if self.detect else []
        flags += ['--members', self.members] if self.members else []
        flags += ['--detections', self.detections] if self.detections else []
        flags += ['--deployments', self.deployments] if self.deployments else []
        if self.calibrate and (self.detect or self.detections):  # the members alone would require several points
            flags += ['--calibrate', self.calibrate]
        return flags


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance label', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('clips', metavar='CLIPS', help='folder of the clips')
    add('--out', required=True, metavar='LABELS', help='the CSV of the labels; other files lie beside it')
    add('--members', help='folder of trained members: the page asks where they are least sure')
    add('--detect', action='store_true', help='finds the animals with the detector of `chimp-distance fetch detector`')
    add('--detections', help='JSON of MegaDetector or PyTorch-Wildlife: the boxes of the animals')
    add('--estimates', metavar='DIR', help='the --out folder of chimp-distance estimate, in place of the flags above')
    add('--calibrate', metavar='KNOWN', help='CSV video_id,time,distance and, if known, x,y: measured distances')
    add('--deployments', help='CSV of the camera stations; without it each folder of clips is a station')
    add('--who', default=None, metavar='NAME', help='who measures (default: the name of your account)')
    add('--open', action='store_true', help='opens the page in your browser')
    add('--workers', type=int, default=os.cpu_count(), help='processes that decode clips (default: all cores)')
    return parser


def run(options: argparse.Namespace) -> int:
    """Check, estimate, serve, tell."""
    options.who = tidy(_account() if options.who is None else options.who)
    request = LabellingRequest(**vars(options))
    journal_path = request.work / NAME
    if epath.Path(request.out).exists() and not journal_path.exists():
        raise ValueError(f'{request.out} exists and is not a result of this command; choose another --out')
    archive = Archive([request.clips])
    if not archive.clips():
        raise ValueError(f'{request.clips} holds no clip; give the folder with the clips')
    with hold(request.work):
        survey = make_survey(request, archive)
        known, points = points_of_table(request, archive)
        journal, frames = Journal(journal_path), FrameStore()
        hint = plan_line(survey)
        session = LabelSession(survey, journal, request.who, request.out, known, points, hint)
        if missing := {answer.target[0] for answer in session.answers()} - survey.sites.keys():
            log.info('note: %s', missing_line(missing, request))
        try:
            session.write_tables()
            _serve(request, session, frames, hint)
        finally:
            frames.close()
            journal.close()
        if session.problem:
            session.write_tables()
    print('\n'.join(summary_lines(session.progress(), request.out)))
    return 0


def make_survey(request: LabellingRequest, archive: Archive) -> LabelSurvey:
    """Returns the seconds to ask for; runs `estimate` first if the flags ask for its boxes or members."""
    names = archive.clips()
    deployments = stations.read_deployments(request.deployments) if request.deployments else None
    site = stations.stations_of(names, deployments).set_axis(names)
    folder, flags = request.estimates, request.estimate_flags()
    if flags is not None:
        from chimp_jax.commands import estimate  # imports the models

        options = estimate.make_parser().parse_args(flags)
        estimate.run(options)
        folder = request.work / 'estimates'
    if folder is not None:
        return survey_estimates(archive, site, folder)
    survey, problems = survey_clips(archive, site, request.workers)
    for name, reason in problems.items():
        log.info('%s: %s; the page leaves it out', name, reason)
    if not survey.clips:
        raise ValueError(f'no clip of {request.clips} can be opened; see the lines above')
    return survey


def points_of_table(request: LabellingRequest, archive: Archive) -> tuple[tables.KnownTable, pd.DataFrame]:
    """Returns the table of --calibrate as text, and its usable points in shares of the picture.

    Without --calibrate, the points of an earlier session stay: labels.known.csv serves.
    """
    path, before = request.calibrate, beside(request.out, tables.KNOWN_SUFFIX)
    if path is None and before.exists() and tables.read_known_table(before).rows:
        path = before
    if path is None:
        return tables.KnownTable(), pd.DataFrame(columns=COLUMNS)
    known = read_known_points(path, archive)
    there = known.rows['video_id'].isin(archive.clips()).to_numpy(bool)
    if not there.all():
        others = known.rows.loc[~there, 'video_id'].unique()
        log.info(
            'note: the page leaves out the rows of %s whose clips are not there: %s',
            path,
            named([*others]),
        )
    known = known._replace(rows=known.rows[there].reset_index(drop=True))
    known = in_shares(known, _sizes(known, archive))
    for problem in table_order(known.problems):
        log.info('%s: %s: %s', problem.row, problem.video_id, problem.reason)
    return tables.read_known_table(path), known.rows


def plan_line(survey: LabelSurvey) -> str:
    """Returns how long the work takes, in one line."""
    stations_there = {clip.camera for clip in survey.clips}
    n = min(len(survey.candidates.clip), PER_STATION * len(stations_there))
    minutes = max(1, round(60 * n / PER_HOUR))
    each = f', {PER_STATION} at each of {len(stations_there)} stations,' if len(stations_there) > 1 else ''
    return (
        f'With some practice a person gives about {PER_HOUR} answers an hour: {n} distances{each} take about {minutes} '
        f'minute{"" if minutes == 1 else "s"}. Stop at any time: every answer is saved.'
    )


def missing_line(missing: Collection[str], request: LabellingRequest) -> str:
    """Returns a line about the answers whose clips are not in the folder."""
    clips = 'a clip with answers is' if len(missing) == 1 else f'{len(missing)} clips with answers are'
    return (
        f'{clips} not in {request.clips}: {named(sorted(missing))}. The rows stay in {request.out} without a site. '
        'If a clip has a new name or folder, name it as before, or the page asks for its seconds again.'
    )


def summary_lines(progress: dict, out: str) -> list[str]:
    """Returns the lines at the end of the command."""
    lines = [f'Distances in {out}: {progress["all_distances"]}.']
    if progress['answers']:
        speed = f' Median speed of the last answers: {progress["per_hour"]} an hour.' if progress['per_hour'] else ''
        keys = f' Keys per answer: {progress["keys"]:g}.' if progress['keys'] else ''
        lines.append(f'Your answers: {progress["answers"]}, with a distance: {progress["distances"]}.{speed}{keys}')
    return lines + progress['agreement']


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return 'person'


def _serve(request: LabellingRequest, session: LabelSession, frames: FrameStore, hint: str) -> None:
    with LabelServer(session, frames) as server:
        print(hint)
        print(f'Open {server.address} in a browser on this computer. Ctrl-C ends.', flush=True)
        if request.open:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print(flush=True)


def _sizes(known: KnownPoints, archive: Archive) -> dict[str, tuple[int, int]]:
    """Returns {video_id: height and width} of the clips whose points are in pixels."""
    wanted = known.rows.loc[known.rows['in_pixels'].astype(bool), 'video_id'].unique()
    call = GuardedCall(f'{clip_size_px.__module__}:{clip_size_px.__name__}')
    try:
        found = {name: call(archive.find(name), _SIZE_DEADLINE_S) for name in wanted}
    finally:
        call.close()
    return {name: size for name, size in found.items() if isinstance(size, tuple) and len(size) == 2 and size[0]}
