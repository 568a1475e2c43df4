"""Reads and checks a Camera Trap Data Package (Camtrap DP 1.0) without a network."""

import json
import re
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import frictionless
import pandas as pd
from etils import epath

from data_prep.inputs.tables import read_table

TABLES = {  # table -> columns that the export reads
    'deployments': ('deploymentID',),
    'media': ('mediaID', 'deploymentID', 'timestamp', 'filePath'),
    'observations': ('observationID', 'deploymentID'),
}
# Columns may be in another order. A column that the standard does not require may be missing.
_ANY_ORDER = frictionless.Detector(schema_sync=True)
_VERSION = re.compile(r'camtrap-dp/v?(\d+\.\d+)')


class Package(NamedTuple):
    """A package on disk.

    paths: {table: its file}. files: all files of the package, relative to the folder. schemas: {table: the schema that
    validates it}. media, observations: all cells are text.
    """

    folder: epath.Path
    paths: dict[str, str]
    files: list[str]
    schemas: dict[str, dict]
    media: pd.DataFrame
    observations: pd.DataFrame

    def file(self, table: str) -> str:
        return str(self.folder / self.paths[table])


def read_package(folder) -> Package:
    """Reads the package in a folder.

    Raises ValueError if the folder has no package, the package has another version, or a path leaves the folder.
    """
    folder = epath.Path(folder)
    place = folder / 'datapackage.json'
    try:
        descriptor = json.loads(place.read_bytes().decode('utf-8-sig'))
        resources = {resource['name']: resource for resource in descriptor['resources']}
    except OSError:
        raise ValueError(f'{place} cannot be read; give the folder of your Camtrap DP package') from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{place} does not describe a data package ({error}); export the package again') from None
    found = _VERSION.search(str(descriptor.get('profile', '')))
    if not found or found[1] != '1.0':
        raise ValueError(
            f'{place}: the profile {descriptor.get("profile")!r} is not Camtrap DP 1.0; '
            'export the package as version 1.0, or upgrade it with the R package camtrapdp'
        )
    missing = [name for name in TABLES if name not in resources]
    if missing:
        raise ValueError(f'{place} lacks the resource {", ".join(missing)}; export the package with all three tables')
    paths = {name: _table_path(resources[name], place) for name in TABLES}
    local = [path for resource in resources.values() for path in _local_paths(resource, place)]
    tables = {name: _read_comma_table(folder / paths[name], columns) for name, columns in TABLES.items()}
    schemas = {name: _schema(resources[name], name, folder, place) for name in TABLES}
    names = list(dict.fromkeys(['datapackage.json', *local]))
    lost = next((name for name in names if not (folder / name).exists()), None)
    if lost:
        raise ValueError(f'{place} names {lost}, but this file is missing; add it to the package')
    return Package(folder, paths, names, schemas, tables['media'], tables['observations'])


def schema_names(table: str) -> list[str]:
    """Returns the columns of a table in the order of the standard."""
    return [field['name'] for field in _standard(table)['fields']]


def check_package(package: Package, observations: str | None = None) -> None:
    """Validates the three tables against their schemas and keys, with frictionless and without a network.

    observations: the text of an observations.csv that replaces the package's own, or None.
    Raises ValueError with file and row for the first fault.
    """
    with tempfile.TemporaryDirectory() as scratch:
        resources = []
        for table, path in package.paths.items():
            data = (package.folder / path).read_bytes().removeprefix(b'\xef\xbb\xbf')
            if table == 'observations' and observations is not None:
                data = observations.encode()
            (Path(scratch) / f'{table}.csv').write_bytes(data)
            about = {'name': table, 'path': f'{table}.csv', 'type': 'table', 'format': 'csv', 'encoding': 'utf-8'}
            described = {**about, 'schema': package.schemas[table]}
            resources.append(frictionless.Resource.from_descriptor(described, basepath=scratch, detector=_ANY_ORDER))
        report = frictionless.Package(resources=resources, basepath=scratch).validate()
    for task in report.tasks:
        for error in task.errors:
            row = getattr(error, 'row_number', None)
            place = package.file(task.name) + (f':{row}' if row else '')
            raise ValueError(f'{place}: {" ".join(error.message.split())}; correct the package and try again')
    for error in report.errors:
        raise ValueError(f'{package.folder}: {" ".join(error.message.split())}; correct the package and try again')


@cache
def _standard(table: str) -> dict:
    return json.loads((files('chimp_jax.field.exports') / 'camtrap_dp_schemas' / f'{table}.json').read_text())


def _read_comma_table(path: epath.Path, columns: tuple[str, ...]) -> pd.DataFrame:
    table = read_table(path, columns)
    header, *_ = path.read_bytes().decode('utf-8-sig').lstrip().splitlines()
    if ',' not in header:  # each table has several columns
        raise ValueError(f'{path} is not separated by commas, as Camtrap DP requires; save it with commas')
    return table


def _table_path(resource: dict, place) -> str:
    path = resource.get('path')
    path = path[0] if isinstance(path, list) and len(path) == 1 else path
    if not isinstance(path, str) or '://' in path or not path.lower().endswith('.csv'):
        raise ValueError(
            f'{place}: the resource {resource["name"]} has the path {path!r}; it must be one CSV file in the package'
        )
    return path


def _local_paths(resource: dict, place) -> list[str]:
    """Returns the files of a resource that are in the package: its data, and its schema if that is a file."""
    named = resource.get('path') or []
    named = [*(named if isinstance(named, list) else [named]), resource.get('schema')]
    paths = [path for path in named if isinstance(path, str) and '://' not in path]
    for path in paths:
        if path.startswith('/') or '\\' in path or ':' in path or '..' in path.split('/'):
            raise ValueError(f'{place}: the path {path!r} leaves the package; keep all files in the package folder')
    return paths


def _schema(resource: dict, table: str, folder, place) -> dict:
    """Returns the schema of the resource if the package contains it, else the schema of the standard."""
    schema = resource.get('schema')
    if isinstance(schema, str) and '://' not in schema:
        try:
            schema = json.loads((folder / schema).read_bytes())
        except (OSError, ValueError):
            raise ValueError(
                f'{place}: the schema {resource["schema"]} of {table} cannot be read; correct it'
            ) from None
    return schema if isinstance(schema, dict) else _standard(table)
