"""Small packages of Camtrap DP 1.0.2, and rows of distances.csv that fit them."""

import io
import json
import zipfile

import pandas as pd

URL = 'https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2/'
TABLES = ('deployments', 'media', 'observations')
DEPLOYMENTS = """deploymentID,latitude,longitude,deploymentStart,deploymentEnd
d1,6.1,-7.2,2024-03-01T08:00:00Z,2024-04-01T08:00:00Z
d2,6.2,-7.3,2024-03-01T08:00:00+02:00,2024-04-01T08:00:00+02:00
"""
MEDIA = """mediaID,deploymentID,timestamp,filePath,filePublic,fileMediatype
m1,d1,2024-03-02T23:59:58Z,media/site_1/a.mp4,false,video/mp4
m2,d2,2024-03-03T10:00:00+02:00,https://example.org/media/site%202/b.mp4?x=1,false,video/mp4
"""
OBSERVATIONS = """observationID,deploymentID,mediaID,eventStart,eventEnd,observationLevel,observationType,count,mine
o1,d1,,2024-03-02T23:59:58Z,2024-03-03T00:00:58Z,event,animal,2,"a, b"
"""
# The properties that the profile of the standard requires, besides `profile` and `resources`.
METADATA = {
    'created': '2024-05-01T00:00:00Z',
    'contributors': [{'title': 'A. Person', 'role': 'contact'}],
    'project': {
        'title': 'Apes of two sites',
        'samplingDesign': 'systematicRandom',
        'captureMethod': ['activityDetection'],
        'individualAnimals': False,
        'observationLevel': ['media', 'event'],
    },
    'spatial': {'type': 'Point', 'coordinates': [-7.2, 6.1]},
    'temporal': {'start': '2024-03-01', 'end': '2024-04-01'},
    'taxonomic': [{'scientificName': 'Pan troglodytes'}],
}


def resources(**paths) -> list[dict]:
    """The three resources as version 1.0.2 writes them. paths: {table: another path}."""
    about = {'profile': 'tabular-data-resource', 'format': 'csv', 'mediatype': 'text/csv', 'encoding': 'utf-8'}
    return [
        {'name': n, 'path': paths.get(n, f'{n}.csv'), **about, 'schema': f'{URL}{n}-table-schema.json'} for n in TABLES
    ]


def package(folder, deployments=DEPLOYMENTS, media=MEDIA, observations=OBSERVATIONS, **changes):
    """Writes a package into a new folder. changes: properties of datapackage.json."""
    folder.mkdir()
    for name, text in zip(TABLES, (deployments, media, observations), strict=True):
        (folder / f'{name}.csv').write_bytes(text.encode() if isinstance(text, str) else text)
    descriptor = {'resources': resources(), 'profile': f'{URL}camtrap-dp-profile.json', **METADATA, **changes}
    (folder / 'datapackage.json').write_text(json.dumps(descriptor, indent=2))
    return folder


def zipped(folder, inside='') -> bytes:
    """A .zip of a folder. inside: what is before each name, such as 'export/'."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w', zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f'{inside}{path.name}')
    return data.getvalue()


def row(video_id, time, distance, **cells):
    empty = dict.fromkeys(('distance_lower', 'distance_upper', 'bbox_x', 'bbox_y', 'bbox_width', 'bbox_height'))
    return {'video_id': video_id, 'time': time, 'distance': distance, **empty, 'flags': '', 'status': 'ok', **cells}


def rows(*given):
    """Rows of distances.csv; one of site_1/a.mp4 if none is given."""
    given = given or (row('site_1/a.mp4', 4, 3.5),)
    return pd.DataFrame(given).astype({name: float for name in row('', 0, 0) if name[:4] in ('dist', 'bbox')})


def read(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)
