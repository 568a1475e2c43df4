"""Reads a Camera Trap Data Package (Camtrap DP 1.0) without a network."""

import json
import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import pandas as pd

from chimp_jax.field.exports.camtrap.package_files import DESCRIPTOR, PackageFiles, leaves_folder
from data_prep.inputs.tables import read_table

TABLES = {  # table -> columns that the export reads
    'deployments': ('deploymentID',),
    'media': ('mediaID', 'deploymentID', 'timestamp', 'filePath'),
    'observations': ('observationID', 'deploymentID'),
}
_VERSION = re.compile(r'camtrap-dp/v?(\d+\.\d+(?:\.\d+)?(?:-[\w.]+)?)')
_READ = ('1.0', '1.0.0', '1.0.1', '1.0.2')
_VERSION_OF_PROFILE = re.compile(r'"pattern"\s*:\s*"(\d+(?:\\\\\.\d+)+)')  # "1\\.0\\.2" in the JSON of a profile


class Package(NamedTuple):
    """A package on disk.

    descriptor: the content of datapackage.json. version: of the standard. paths: {table: its file}. names: all files
    that the package names, relative to its datapackage.json. schemas: {table: the schema that validates it}.
    deployments, media, observations: all cells are text; missing values are empty in deployments and media, and as the
    owner wrote them in observations.
    """

    files: PackageFiles
    descriptor: dict
    version: str
    paths: dict[str, str]
    names: list[str]
    schemas: dict[str, dict]
    deployments: pd.DataFrame
    media: pd.DataFrame
    observations: pd.DataFrame

    def file(self, table: str) -> str:
        return self.files.place(self.paths[table])

    def missing_value(self, table: str) -> str:
        """Returns the text of an empty cell: '' unless the schema has other missing values only."""
        listed = _missing_values(self.schemas[table])
        return '' if '' in listed else listed[0]

    def known_observations(self) -> pd.DataFrame:
        """Returns the observations, empty text for missing values."""
        return _without_missing(self.observations, self.schemas['observations'])


def read_package(path) -> Package:
    """Reads the package in a folder or a .zip.

    Raises ValueError if there is no package, the package has another version, or a path leaves the package.
    """
    source = PackageFiles(path)
    place = source.place(DESCRIPTOR)
    try:
        descriptor = json.loads(source.read(DESCRIPTOR).decode('utf-8-sig'))
        resources = {resource['name']: resource for resource in descriptor['resources']}
    except (KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f'{place} does not describe a data package ({error}); export the package again') from None
    own_profile = _own_profile(descriptor, source)
    version = _checked_version(descriptor, own_profile, source)
    missing = [name for name in TABLES if name not in resources]
    if missing:
        raise ValueError(f'{place} lacks the resource {", ".join(missing)}; export the package with all three tables')
    paths = {name: _table_path(resources[name], place) for name in TABLES}
    own = [path for resource in resources.values() for path in _own_paths(resource, place)]
    names = list(dict.fromkeys([DESCRIPTOR, *own, *own_profile]))
    lost = next((name for name in names if name not in source), None)
    if lost:
        raise ValueError(f'{place} names {lost}, but this file is missing; add it to the package')
    schemas = {name: _schema(resources[name], name, source) for name in TABLES}
    tables = {name: _read_comma_table(source, paths[name], columns) for name, columns in TABLES.items()}
    for name in ('deployments', 'media'):
        tables[name] = _without_missing(tables[name], schemas[name])
    return Package(source, descriptor, version, paths, names, schemas, **tables)


def schema_names(table: str) -> list[str]:
    """Returns the columns of a table in the order of the standard."""
    return [field['name'] for field in standard(f'{table}-table-schema')['fields']]


@cache
def standard(name: str) -> dict:
    """Returns a file of Camtrap DP 1.0.2, such as 'media-table-schema'."""
    path = files('chimp_jax.field.exports') / 'camtrap_dp_schemas' / f'{name}.json'
    return json.loads(path.read_text(encoding='utf-8'))


def _own_profile(descriptor: dict, source: PackageFiles) -> list[str]:
    """Returns the profile of the package if that is a file in it. Data Package 2 calls the profile $schema."""
    named = [descriptor.get(key) for key in ('profile', '$schema')]
    return [path for path in named if isinstance(path, str) and path.endswith('.json') and _is_own(path, source)]


def _is_own(path: str, source: PackageFiles) -> bool:
    if '://' in path:
        return False
    _check_inside(path, source.place(DESCRIPTOR))
    return True


def _checked_version(descriptor: dict, own_profile: list[str], source: PackageFiles) -> str:
    """Returns the version of the standard. Raises ValueError if it is not 1.0, 1.0.1 or 1.0.2.

    The version is in the address of the profile (of TDWG or of GBIF). If the profile is a file of the package, the
    version is in the file. Else, the addresses of the schemas have it.
    """
    place = source.place(DESCRIPTOR)
    for path in own_profile:
        if path not in source:
            raise ValueError(f'{place} names {path}, but this file is missing; add it to the package')
    profiles = [descriptor.get(key) for key in ('profile', '$schema')]
    texts = [str(profile) for profile in profiles]
    texts += [source.read(path).decode(errors='replace') for path in own_profile]
    texts += [str(resource.get('schema')) for resource in descriptor['resources'] if isinstance(resource, dict)]
    versions = (_version_in(text) for text in texts)
    found = next((version for version in versions if version), None)
    if found not in _READ:
        named = next((profile for profile in profiles if profile), None)
        raise ValueError(
            f'{place}: the profile {named!r} is not Camtrap DP 1.0; '
            'export the package as version 1.0, or upgrade it with the R package camtrapdp'
        )
    return found


def _version_in(text: str) -> str | None:
    if found := _VERSION_OF_PROFILE.search(text):
        return found[1].replace('\\', '')
    found = _VERSION.search(text)
    return found and found[1]


def _without_missing(table: pd.DataFrame, schema: dict) -> pd.DataFrame:
    """Returns a table with empty text for the missing values of its schema."""
    return table.mask(table.isin(_missing_values(schema)), '')


def _missing_values(schema: dict) -> list[str]:
    listed = schema.get('missingValues') or ['']
    return [value.get('value', '') if isinstance(value, dict) else value for value in listed]


def _read_comma_table(source: PackageFiles, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    data = source.read_unpacked(name)
    table = read_table(source.place(name), columns, data=data)
    header, *_ = data.decode('utf-8-sig').lstrip().splitlines()
    if ',' not in header:  # each table has several columns
        raise ValueError(
            f'{source.place(name)} is not separated by commas, as Camtrap DP requires; save it with commas'
        )
    return table


def _table_path(resource: dict, place: str) -> str:
    path = resource.get('path')
    path = path[0] if isinstance(path, list) and len(path) == 1 else path
    if not isinstance(path, str) or '://' in path or not path.lower().endswith(('.csv', '.csv.gz')):
        raise ValueError(
            f'{place}: the resource {resource["name"]} has the path {path!r}; '
            'it must be one file in the package, .csv or .csv.gz'
        )
    return path


def _own_paths(resource: dict, place: str) -> list[str]:
    """Returns the files of a resource that are in the package: its data, its schema and its dialect."""
    named = resource.get('path') or []
    named = [*(named if isinstance(named, list) else [named]), resource.get('schema'), resource.get('dialect')]
    paths = [path for path in named if isinstance(path, str) and '://' not in path]
    for path in paths:
        _check_inside(path, place)
    return paths


def _check_inside(path: str, place: str) -> None:
    if leaves_folder(path):
        raise ValueError(f'{place}: the path {path!r} leaves the package; keep all files in the package folder')


def _schema(resource: dict, table: str, source: PackageFiles) -> dict:
    """Returns the schema of the resource if the package contains it, else the schema of the standard."""
    schema = resource.get('schema')
    if isinstance(schema, str) and '://' not in schema:
        try:
            schema = json.loads(source.read(schema))
        except ValueError:
            schema = None
        if not isinstance(schema, dict):
            place = source.place(DESCRIPTOR)
            raise ValueError(f'{place}: the schema {resource["schema"]} of {table} cannot be read; correct it')
    return schema if isinstance(schema, dict) else standard(f'{table}-table-schema')
