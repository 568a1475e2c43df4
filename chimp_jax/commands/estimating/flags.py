"""The flags of `chimp-distance estimate`."""

import argparse
import dataclasses
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction

from etils import epath

from chimp_jax.commands import combining
from chimp_jax.commands.arguments import add_compile_cache, add_engine_flags, add_memory, metres_list
from chimp_jax.engines.engine import LOCAL
from chimp_jax.field import status
from chimp_jax.field.exports import formats
from data_prep.job import BURST_GAP
from data_prep.plan import Watch
from data_prep.workers import lost

LONGEST_STEP_S = 3600
LEAST_CONFIDENCE = 0.25  # of the detector of --detect, as zamba calls it
LEAST_OF_TRACK = 0.1  # a box with less confidence than an animal continues a track, down to this
MIN_RATE, MAX_RATE = 0.1, 30.0  # frames per second of --detect

DETECT = 'finds the animals with the detector of `chimp-distance fetch detector`; their seconds are the targets'
DETECTOR_EVERY = 'seconds between the frames of the detector, if its file does not list them but holds all detections'
ENHANCE = "of clips of low resolution, as data_prep.build; by default that of the members' records"
EVERY_SECOND = 'states that an animal is in view in every second of every clip; for formats without --detections'
OTHERS_EMPTY = 'states that a person watched all clips: a second that --targets does not list has no animal'
MOST_REDRAWS = 1000  # distance.R fits each table; more make its result no better
REDRAWS = 'M flat files with redraws of the true distances: distance.R then knows the error of the distances'
COMPLETENESS = (
    'columns distance,completeness: the share of the animals in view that the detector finds; or detection.csv of '
    '`chimp-distance evaluate`'
)
PARTIAL_EFFORT = 'the effort of the flat file counts only the snapshot moments that were looked at'


@dataclasses.dataclass(frozen=True)
class EstimateRequest:
    """The flags of `estimate`. options.json keeps them under these names, in this order."""

    clips: str  # folder; local or gs://, as all paths
    members: str | None  # folder of train.py --workdir; None: distances from boxes and the ground alone
    out: str
    every_s: int | None  # None: 1
    burst_gap_s: float  # of photos
    enhance: str | None  # of clips of low resolution; None: as the records of the members
    detect: bool
    detect_rate: float  # frames per second
    detections: str | None
    min_confidence: float | None  # None: that of the file, see least_confidence
    targets: str | None
    details: bool
    workers: int
    weights: str | None  # None: the default of combining.choose_combination
    round: str | None
    compile_cache: str | None
    coverage: float
    calibrate: str | None
    deployments: str | None
    format: Sequence[str]
    snapshot_s: int | None
    theta_deg: float | None
    cutpoints: Sequence[float] | None
    truncation: float | None
    camtrap_package: str | None
    camtrap_tracks: bool
    detector_every: float | None
    every_second_has_an_animal: bool
    other_moments_are_empty: bool
    partial_effort: bool
    animals: str | None  # names with commas between them
    species_table: str | None
    media_table: str | None
    redraws: int
    memory: str | None  # None: the default of memory.limit_to
    retry: bool
    completeness: str | None  # of the detector, for the flat file
    runner: str
    runner_options: Sequence[str]
    multihost: bool

    def __post_init__(self):
        """Raises ValueError if the flags do not fit each other."""
        for is_wrong, message in _faults(self):
            if is_wrong:
                raise ValueError(message)

    @property
    def has_boxes(self) -> bool:
        """Whether a detector gives boxes of the animals."""
        return self.detect or self.detections is not None

    @property
    def uses_ground(self) -> bool:
        """Whether distances come from boxes and the ground of their station, alone or beside the members."""
        return self.has_boxes and (self.members is None or self.calibrate is not None)

    @property
    def detector_file(self) -> str | None:
        """The file with the boxes; `--detect` writes it."""
        return str(epath.Path(self.out) / status.DETECTIONS) if self.detect else self.detections

    @property
    def least_confidence(self) -> float:
        """The least confidence of a detection that counts as an animal."""
        return (LEAST_CONFIDENCE if self.detect else 0.2) if self.min_confidence is None else self.min_confidence

    @property
    def frames_per_second(self) -> str:
        """The rate of --detect as an exact number, such as '2' or '1/3'."""
        return str(Fraction(self.detect_rate).limit_denominator(1000))

    @property
    def step_s(self) -> int:
        """Seconds between the targets."""
        return 1 if self.every_s is None else self.every_s

    def watch(self) -> Watch:
        """Returns what the formats need to know about the clips without targets."""
        return Watch(
            lengths='zamba' in self.format,
            frames='distance' in self.format,
            detector_every_s=self.detector_every,
            others_empty=self.other_moments_are_empty,
        )


def _faults(given: EstimateRequest) -> Iterator[tuple[object, str]]:
    """Yields (whether it is the case, message) for each way in which flags do not fit each other."""
    boxes = '--detect' if given.detect else '--detections' if given.detections else ''
    seconds = boxes or ('--targets' if given.targets else '')
    other = '--detections' if given.detections else '--targets'
    rate, confidence, every = given.detect_rate, given.min_confidence, given.detector_every
    yield (
        given.detect and (given.detections or given.targets),
        f'--detect finds the animals itself, and {other} gives them; use one of the two',
    )
    yield (
        not MIN_RATE <= rate <= MAX_RATE,
        f'--detect_rate={rate:g}: give frames per second, {MIN_RATE:g} to {MAX_RATE:g}',
    )
    yield (
        given.detect and confidence is not None and confidence < LEAST_CONFIDENCE,
        f'--min_confidence={confidence or 0:g}: the detector of --detect reports no animal below '
        f'{LEAST_CONFIDENCE:g}; give {LEAST_CONFIDENCE:g} or more',
    )
    yield (
        not given.members and not boxes,
        'without --members the distances come from boxes of animals; give --detect, or a file of boxes with '
        '--detections',
    )
    yield (
        not given.members and (given.multihost or given.runner != LOCAL),
        'without --members one machine does all the work; leave --runner and --multihost out',
    )
    yield (
        given.every_s is not None and seconds,
        f'--every cannot be used with {seconds}, which gives the seconds itself',
    )
    yield (
        given.every_s is not None and given.every_s < 1,
        f'--every must be at least 1 second; got {given.every_s}',
    )
    yield (
        given.every_second_has_an_animal and seconds,
        f'--every_second_has_an_animal contradicts {seconds}, which tells the seconds; leave one out',
    )
    yield (
        given.other_moments_are_empty and not given.targets,
        '--other_moments_are_empty needs --targets, the table of the seconds with an animal',
    )
    yield (
        every is not None and not given.detections,
        '--detector_every needs --detections, the file of the detector',
    )
    yield (
        every is not None and not 0 < every <= LONGEST_STEP_S,
        f'--detector_every={every or 0:g}: give seconds, above 0 and up to {LONGEST_STEP_S}',
    )
    yield (
        given.partial_effort and 'distance' not in given.format,
        '--partial_effort needs --format distance, whose effort it changes',
    )
    yield (
        given.redraws and 'distance' not in given.format,
        '--redraws is for --format distance; add this format or leave the flag out',
    )
    yield (
        given.completeness and 'distance' not in given.format,
        '--completeness is for --format distance; add this format or leave the table out',
    )
    yield (
        given.redraws and not 2 <= given.redraws <= MOST_REDRAWS,
        f'--redraws={given.redraws}: give the number of tables, 2 to {MOST_REDRAWS}, such as 20',
    )
    yield (
        given.redraws and given.calibrate is not None,
        '--redraws knows the error of the members alone, and --calibrate changes their distances; use one of the two',
    )
    yield (
        given.animals is not None and not given.detections,
        '--animals names categories of a detector; give its file with --detections',
    )
    yield (
        given.camtrap_tracks and 'camtrap-dp' not in given.format,
        '--camtrap_tracks is for --format camtrap-dp; add this format or leave the flag out',
    )
    for flag, table in (('--species_table', given.species_table), ('--media_table', given.media_table)):
        yield (
            table and 'camtrap-dp' not in given.format,
            f'{flag} is for --format camtrap-dp; add this format or leave the table out',
        )
    yield (
        given.uses_ground and given.theta_deg is not None and not 0 < given.theta_deg < 180,
        f'--theta={given.theta_deg or 0:g}: the angle of view of one lens is above 0 and below 180 degrees; correct it',
    )
    yield (
        given.detect and 'distance' in given.format and given.snapshot_s and rate * given.snapshot_s < 1,
        f'--detect_rate={rate:g} looks less often than --snapshot {given.snapshot_s}, so nobody looks at some moments; '
        f'give --detect_rate {1 / (given.snapshot_s or 1):.3g} or more',
    )
    yield (
        not 0 < given.coverage < 1,
        f'--coverage={given.coverage} is not a share; give a number between 0 and 1, such as 0.9',
    )


def add_estimate_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of EstimateRequest to a parser."""
    add = parser.add_argument
    add('clips', metavar='CLIPS', help='folder of the clips; local or gs://')
    add('--members', help='folder of the trained members (train.py --workdir); without it, distances come from boxes')
    add('--out', required=True, help='folder for the results')
    add('--every', type=int, dest='every_s', help='seconds between the targets (default: 1)')
    add('--burst_gap', '--burst-gap', dest='burst_gap_s', type=float, default=2.0, metavar='S', help=BURST_GAP)
    add('--enhance', help=ENHANCE)
    add('--detect', action='store_true', help=DETECT)
    add('--detect_rate', '--detect-rate', type=float, default=2.0, metavar='N', help='frames per second (default: 2)')
    add('--detections', help='JSON of MegaDetector or PyTorch-Wildlife: the seconds with an animal are the targets')
    add(
        '--min_confidence',
        '--min-confidence',
        type=float,
        help=f'of a detection (default: 0.2; with --detect {LEAST_CONFIDENCE:g})',
    )
    add('--animals', help='categories of the detector that count, such as "duiker,common chimpanzee" (default: animal)')
    add('--targets', help='CSV with the columns video_id and time: these seconds are the targets')
    add('--details', action='store_true', help='adds a column for each recipe')
    add('--workers', type=int, default=os.cpu_count(), help='processes that decode clips (default: all cores)')
    combining.add_combination_flags(parser)
    add_compile_cache(parser)
    add('--coverage', type=float, default=0.9, help='of the interval distance_lower..distance_upper (default: 0.9)')
    add(
        '--calibrate',
        metavar='KNOWN',
        help='CSV video_id,time,distance and, if known, x,y of the foot point: measured distances of each station; '
        'these seconds need not show an animal',
    )
    add('--deployments', help='CSV of the camera stations; without it each folder of clips is a station')
    add('--format', nargs='+', default=[], choices=formats.FORMATS, help='files for other programs; docs/exports.md')
    add('--snapshot', type=int, dest='snapshot_s', help='seconds between snapshot moments')
    add('--theta', type=float, dest='theta_deg', help="the camera's horizontal angle of view in degrees")
    add('--cutpoints', type=metres_list, help='limits of the distance bins in metres, such as 0,2,4,6,9,13')
    add('--truncation', type=float, help='metres; animals that are farther away are left out')
    add('--camtrap_package', '--camtrap-package', help='your Camtrap DP: its folder or its .zip')
    add(
        '--camtrap_tracks',
        '--camtrap-tracks',
        action='store_true',
        help='also writes an event-level observation of each followed animal into the Camtrap DP',
    )
    add('--detector_every', '--detector-every', type=float, metavar='S', help=DETECTOR_EVERY)
    add('--every_second_has_an_animal', '--every-second-has-an-animal', action='store_true', help=EVERY_SECOND)
    add('--other_moments_are_empty', '--other-moments-are-empty', action='store_true', help=OTHERS_EMPTY)
    add('--partial_effort', '--partial-effort', action='store_true', help=PARTIAL_EFFORT)
    add(
        '--species_table',
        '--species-table',
        metavar='CSV',
        help="columns label,scientificName: the detector's names and the scientific names for Camtrap DP",
    )
    add('--media_table', '--media-table', metavar='CSV', help='columns video_id,mediaID: the medium of each clip')
    add('--completeness', metavar='CSV', help=COMPLETENESS)
    add('--redraws', type=int, default=0, metavar='M', help=REDRAWS)
    add_memory(parser)
    add('--retry', action='store_true', help=lost.RETRY)
    add_engine_flags(parser)
