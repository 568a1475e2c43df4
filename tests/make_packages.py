"""Small Camtrap DP packages and rows of distances.csv."""

import json

import pandas as pd

URL = 'https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2/'
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


def package(folder, deployments=DEPLOYMENTS, media=MEDIA, observations=OBSERVATIONS, **changes):
    """Writes a package into a new folder. changes: of its datapackage.json."""
    folder.mkdir()
    names = ('deployments', 'media', 'observations')
    for name, text in zip(names, (deployments, media, observations), strict=True):
        (folder / f'{name}.csv').write_bytes(text.encode() if isinstance(text, str) else text)
    resources = [{'name': n, 'path': f'{n}.csv', 'schema': f'{URL}{n}-table-schema.json'} for n in names]
    descriptor = {'profile': f'{URL}camtrap-dp-profile.json', 'resources': resources, **changes}
    (folder / 'datapackage.json').write_text(json.dumps(descriptor))
    return folder


def row(video_id, time, distance, **cells):
    empty = dict.fromkeys(('distance_lower', 'distance_upper', 'bbox_x', 'bbox_y', 'bbox_width', 'bbox_height'))
    return {'video_id': video_id, 'time': time, 'distance': distance, **empty, 'flags': '', 'status': 'ok', **cells}


def rows(*given):
    given = given or (row('site_1/a.mp4', 4, 3.5),)
    return pd.DataFrame(given).astype({name: float for name in row('', 0, 0) if name[:4] in ('dist', 'bbox')})


def read(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)
