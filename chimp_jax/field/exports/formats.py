"""The formats for other programs, by the name of --format: what each requires and which files it writes."""

import dataclasses
from collections.abc import Callable, Mapping

import pandas as pd
from etils import epath

from chimp_jax.field.exports import camtrap_dp, camtrap_package, distance_flatfile, zamba
from chimp_jax.field.exports.flatfile_check import checked_bins
from data_prep.inputs.categories import scientific_names

FORMATS = ('zamba', 'distance', 'camtrap-dp')


@dataclasses.dataclass(frozen=True)
class Survey:
    """What the exports need to know about the survey; None if the user did not give it."""

    deployments: pd.DataFrame | None = None  # of stations.read_deployments
    every_s: int = 1  # seconds between targets
    snapshot_s: int | None = None  # seconds between snapshot moments
    theta_deg: float | None = None  # the camera's angle of view
    cutpoints_m: list[float] | None = None
    truncation_m: float | None = None
    package: str | None = None  # folder of the user's Camtrap DP
    species: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of categories.read_species

    def missing(self, format_name: str) -> list[str]:
        """Returns the flags that the format requires and the user did not give."""
        needs = {
            'distance': {'--deployments': self.deployments, '--snapshot': self.snapshot_s, '--theta': self.theta_deg},
            'camtrap-dp': {'--camtrap_package': self.package},
        }
        return [flag for flag, value in needs.get(format_name, {}).items() if value is None]


def check(formats, survey: Survey) -> None:
    """Raises ValueError if a format lacks something. Runs before the clips are read."""
    for name in formats:
        if missing := survey.missing(name):
            raise ValueError(f'--format {name} needs {" and ".join(missing)}; see docs/exports.md')
    if 'distance' in formats:
        distance_flatfile.check_survey(survey.snapshot_s, survey.theta_deg, survey.every_s)
        checked_bins(survey.cutpoints_m, survey.truncation_m)
    if 'camtrap-dp' in formats:
        camtrap_package.read_package(survey.package)


def write(name: str, rows: pd.DataFrame, clips: pd.DataFrame, survey: Survey, out, now: str) -> dict:
    """Writes one format into the folder `out` and returns the counts of what it wrote.

    rows, clips: distances.csv and clips.csv. now: ISO 8601.
    """
    out = epath.Path(out)
    durations_s = clips.set_index('video_id')['duration_s'].dropna().to_dict()
    station = rows['video_id'].map(clips.set_index('video_id')['site'])
    found = station.notna()  # a target may name a clip that does not exist
    writers: dict[str, Callable[[], dict]] = {
        'zamba': lambda: zamba.write_zamba(rows, out / 'zamba.csv', durations_s),
        'distance': lambda: distance_flatfile.write_distance(
            rows[found],
            stations=station[found],
            deployments=survey.deployments,
            snapshot_s=survey.snapshot_s,
            theta_deg=survey.theta_deg,
            out_dir=out,
            cutpoints=survey.cutpoints_m,
            truncation=survey.truncation_m,
            every_s=survey.every_s,
        ),
        'camtrap-dp': lambda: camtrap_dp.merge_camtrap_dp(
            rows.assign(scientificName=scientific_names(rows.get('label', [''] * len(rows)), survey.species)),
            package_dir=survey.package,
            out_dir=out / 'camtrap-dp',
            field_of_view_deg=survey.theta_deg,
            classified_at=now,
        ),
    }
    return writers[name]()
