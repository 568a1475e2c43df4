"""The options of data_prep.build, its flags, and the check that a folder was begun with the same options."""

import argparse
import os
from dataclasses import dataclass

from etils import epath

from data_prep.decoding.timestamps import SAMPLINGS
from data_prep.enhance.spec import FORM, parse_enhancement
from data_prep.files import read_json, sha256, write_json
from data_prep.inputs.categories import split_names
from data_prep.inputs.labels import TABLES
from data_prep.inputs.photos import check_gap
from data_prep.records import VERSION
from data_prep.workers import lost, memory
from data_prep.workers.clip_record import GAMMAS
from data_prep.workers.stored_frame import JPEG_QUALITY

BURST_GAP = 'photos of a folder that are at most so many seconds apart are a burst (default: 2)'


@dataclass(frozen=True)
class Job:
    out: str  # folder of the data set; local or gs://, like all paths
    clips_down: tuple[str, ...] = ()  # roots of the downsampled clips
    clips_full: tuple[str, ...] = ()  # roots of the original clips; if one of the two is empty, the other serves both
    tables: str | None = None  # folder with the challenge's tables, or one CSV
    with_distances: bool = True  # False: the tables tell which targets are wanted, and their distances are ignored
    detections: str | None = None  # JSON of a detector: seconds with an animal become targets; with tables, boxes alone
    min_confidence: float = 0.2  # of a detection, 0..1
    animals: tuple[str, ...] | None = None  # the categories that count; None: the category `animal`
    every_s: int = 1  # seconds between targets without tables and detections
    burst_gap_s: float = 2.0  # photos of a folder that are at most so far apart are a burst
    sampling: str = 'timestamp'  # or 'legacy_r1', of the `full` stream
    gamma: str = 'auto'  # or 'always', 'never': correction of the `full` stream
    enhance: str = 'off'  # or 'auto', or steps: better `full` pictures of small clips (enhance/spec.py)
    audio: bool = False  # the records have the sound of the clips
    n_folds: int = 5
    seed: int = 0  # of the folds
    strict: bool = False  # bad rows and missing clips end the job before anything is decoded
    workers: int = 1  # processes that decode on this machine
    retry: bool = False  # try again the clips that earlier runs lost with their worker process, see workers/lost.py
    delete_frames: bool = True  # delete the frame store when the records are complete
    runner: str = 'local'  # or a runner of Apache Beam
    runner_options: tuple[str, ...] = ()  # flags of Apache Beam

    def __post_init__(self):
        """Raises ValueError if an option is invalid."""
        if not self.clips_down and not self.clips_full:
            raise ValueError('give --clips_down, --clips_full or both')
        if self.workers < 1:
            raise ValueError(f'--workers must be at least 1; got {self.workers}')
        if self.animals and not self.detections:
            raise ValueError('--animals names categories of a detector; give its file with --detections')
        if self.every_s < 1:
            raise ValueError(f'--every must be at least 1 second; got {self.every_s}')
        check_gap(self.burst_gap_s)
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f'--min_confidence must be from 0 to 1; got {self.min_confidence}')
        if self.sampling not in SAMPLINGS:
            raise ValueError(f'--sampling must be one of {", ".join(SAMPLINGS)}; got {self.sampling!r}')
        if self.gamma not in GAMMAS:
            raise ValueError(f'--gamma must be one of {", ".join(GAMMAS)}; got {self.gamma!r}')
        parse_enhancement(self.enhance)
        if self.runner == 'local' and self.runner_options:
            raise ValueError(f'unknown options: {" ".join(self.runner_options)}; see --help')


def result_options(job: Job) -> dict:
    """Returns every option that changes the result. Raises ValueError if a table or the detections are missing."""
    for path in (job.tables, job.detections):
        if path and not epath.Path(path).exists():
            raise ValueError(f'{path} does not exist; correct --tables or --detections')
    options = {
        'clips_down': list(job.clips_down),
        'clips_full': list(job.clips_full),
        'sampling': job.sampling,
        'gamma': job.gamma,
        'n_folds': job.n_folds,
        'seed': job.seed,
        'jpeg_quality': JPEG_QUALITY,
        'version': VERSION,
    }
    if job.burst_gap_s != Job.burst_gap_s:  # absent in folders of version 0.1
        options['burst_gap_s'] = job.burst_gap_s
    enhancement = parse_enhancement(job.enhance)
    if enhancement:  # absent in folders of version 0.1
        options['enhance'] = str(enhancement)
    if job.audio:
        options['audio'] = True
    if job.detections:
        options |= {'animals': list(job.animals)} if job.animals else {}
        options |= {'min_confidence': job.min_confidence, 'detections_sha256': sha256(job.detections)}
    if job.tables:
        options |= {'tables_sha256': {file.name: sha256(file) for file in _table_files(epath.Path(job.tables))}}
    return options if job.detections or job.tables else options | {'every_s': job.every_s}


def compare_options(out: epath.Path, options: dict) -> None:
    """Raises ValueError if `out` was begun with other options: a data set must not mix two sets of options."""
    before = read_json(out / 'options.json')
    if before is None:
        return
    names = [name for name in before | options if before.get(name) != options.get(name)]
    if names:
        changes = '; '.join(f'{name}: {before.get(name)} before, {options.get(name)} now' for name in names)
        raise ValueError(f'{out} was begun with other options ({changes}); choose another --out or delete the folder')


def keep_options(out: epath.Path, options: dict) -> None:
    """Writes the options into `out`, unless they are there."""
    if read_json(out / 'options.json') is None:
        write_json(out / 'options.json', options)


def _table_files(tables: epath.Path) -> list[epath.Path]:
    if not tables.is_dir():
        return [tables]
    files = [tables / name for pair in TABLES.values() for name in pair]
    return [file for file in files if file.exists()]


def parse_job(arguments: list[str] | None, description: str) -> Job:
    """Returns the job that the flags of data_prep.build ask for. Raises ValueError if an option is invalid."""
    parser = argparse.ArgumentParser(
        prog='python -m data_prep.build', description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, standard = parser.add_argument, Job(out='', clips_full=('',))
    add('--tables', help="folder with the challenge's tables, or a CSV with video_id or filepath, time, distance, ...")
    add('--detections', help='JSON of MegaDetector or PyTorch-Wildlife: targets; beside --tables, boxes alone')
    add(
        '--min_confidence',
        '--min-confidence',
        type=float,
        default=standard.min_confidence,
        help='least confidence of a detection, 0 to 1',
    )
    add('--animals', help='categories of the detector that count, such as "duiker,common chimpanzee" (default: animal)')
    add('--every', dest='every_s', type=int, default=1, help='seconds between targets without tables or detections')
    add('--burst_gap', '--burst-gap', dest='burst_gap_s', type=float, default=standard.burst_gap_s, help=BURST_GAP)
    add('--clips_down', nargs='+', default=(), help='folders with the downsampled clips, local, gs:// or s3://')
    add('--clips_full', nargs='+', default=(), help='folders with the original clips, local, gs:// or s3://')
    add('--out', required=True, help='folder of the data set, local or gs://')
    add('--sampling', default=standard.sampling, help='timestamp, or legacy_r1: `full` frames as ffmpeg -r 1 cuts them')
    add('--gamma', default=standard.gamma, help='gamma correction. auto: of overexposed clips; always; never')
    add('--enhance', default=standard.enhance, help=f'better `full` pictures of clips of low resolution: {FORM}')
    add('--audio', action='store_true', help='keep the sound of the clips in the records, as log-mel rows')
    add('--n_folds', type=int, default=standard.n_folds, help='number of cross-validation folds')
    add('--seed', type=int, default=standard.seed, help='seed of the folds')
    add('--strict', action='store_true', help='stop before decoding if a row is bad or a clip is missing')
    add('--workers', type=int, default=os.cpu_count(), help='processes that decode on this machine')
    add('--memory', help=memory.MEMORY)
    add('--retry', action='store_true', help=lost.RETRY)
    add('--delete_frames', choices=('True', 'False'), default='True', help='delete the frame store after the records')
    add('--runner', default=standard.runner, help="local, or a runner of Apache Beam; Beam's own options may follow")
    options, runner_options = parser.parse_known_args(arguments)
    memory.limit_to(vars(options).pop('memory'))
    options.delete_frames = options.delete_frames == 'True'
    options.animals = None if options.animals is None else split_names(options.animals)
    options.clips_down, options.clips_full = tuple(options.clips_down), tuple(options.clips_full)
    return Job(**vars(options), runner_options=tuple(runner_options))
