"""Checks a package against Camtrap DP with the frictionless library, without a network."""

import json
import re
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

import frictionless
import jsonschema
from referencing import Registry
from referencing.jsonschema import DRAFT4

from chimp_jax.field.exports.camtrap.package import TABLES, Package, standard

# Columns may be in another order. A column that the standard does not require may be missing.
_ANY_ORDER = frictionless.Detector(schema_sync=True)
_ADDRESS = 'https://raw.githubusercontent.com/tdwg/camtrap-dp'
_LONGEST_FAULT = 200  # characters


def check_package(package: Package, observations: str | None = None) -> None:
    """Validates the three tables against their schemas and keys, with frictionless and without a network.

    observations: the text of an observations.csv that replaces the package's own, or None.
    Raises ValueError with file and row for the first fault.
    """
    with tempfile.TemporaryDirectory() as scratch:
        resources = []
        for table, path in package.paths.items():
            if table == 'observations' and observations is not None:
                data = observations.encode()
            else:
                data = package.files.read_unpacked(path).removeprefix(b'\xef\xbb\xbf')
            (Path(scratch) / f'{table}.csv').write_bytes(data)
            about = {'name': table, 'path': f'{table}.csv', 'type': 'table', 'format': 'csv', 'encoding': 'utf-8'}
            described = {**about, 'schema': package.schemas[table]}
            resources.append(_resource(package, described, scratch))
        try:
            report = frictionless.Package(resources=resources, basepath=scratch).validate()
        except re.error as error:
            _refuse_schema(package, f'a pattern: {error}')
    for task in report.tasks:
        for error in task.errors:
            row = getattr(error, 'row_number', None)
            place = package.file(task.name) + (f':{row}' if row else '')
            raise ValueError(f'{place}: {" ".join(error.message.split())}; correct the package and try again')
    for error in report.errors:
        raise ValueError(f'{package.files.path}: {" ".join(error.message.split())}; correct the package and try again')


def _resource(package: Package, described: dict, folder: str) -> frictionless.Resource:
    """Returns a table for frictionless, which raises errors of all kinds if a schema has other types than expected."""
    try:
        return frictionless.Resource.from_descriptor(described, basepath=folder, detector=_ANY_ORDER)
    except frictionless.FrictionlessException as error:
        reason = '; '.join(one.note for one in error.reasons or [error.error])
    except (TypeError, AttributeError, KeyError, ValueError, RecursionError, re.error) as error:
        reason = str(error)
    _refuse_schema(package, f'{described["name"]}: {reason}')


def _refuse_schema(package: Package, fault: str) -> NoReturn:
    fault = ' '.join(fault.split())[:_LONGEST_FAULT]
    raise ValueError(f'{package.files.path}: a table schema is not valid: {fault}; correct it in datapackage.json')


def descriptor_faults(package: Package) -> list[str]:
    """Returns how datapackage.json differs from the profile of its version of Camtrap DP, each in one line."""
    descriptor = _with_addresses(package)
    profile = standard('camtrap-dp-profile') | {'$defs': {'version': {'pattern': package.version.replace('.', r'\.')}}}
    found = jsonschema.Draft4Validator(profile, registry=_registry()).iter_errors(descriptor)
    faults = [_line(error) for error in found]
    general = frictionless.Package.validate_descriptor(_without_addresses(descriptor))
    faults += [' '.join(note.split())[:_LONGEST_FAULT] for (note,) in general.flatten(['note'])]
    return list(dict.fromkeys(faults))


def _line(error: jsonschema.ValidationError) -> str:
    while error.context:  # of alternatives, the profile names first what a table of the standard needs
        error = error.context[0]
    path = '.'.join(map(str, error.absolute_path))
    return f'{path}: {error.message}'.removeprefix(': ')[:_LONGEST_FAULT]


def _with_addresses(package: Package) -> dict:
    """Returns the descriptor as version 1.0 writes it: the standard's addresses in place of copies of its files."""
    descriptor = json.loads(json.dumps(package.descriptor))
    named = [name for name in (descriptor.get('$schema'), descriptor.get('profile')) if name]
    if named and 'camtrap-dp' not in str(descriptor.get('profile')):
        descriptor['profile'] = f'{_ADDRESS}/{package.version}/camtrap-dp-profile.json'
    for resource in descriptor['resources']:
        name = resource.get('name')
        if name not in TABLES:
            continue
        if '$schema' in descriptor and resource.get('type') == 'table':  # Data Package 2
            resource.setdefault('profile', 'tabular-data-resource')
        if package.schemas[name] == standard(f'{name}-table-schema'):
            given = resource.get('schema')
            if given and not (isinstance(given, str) and '://' in given):
                resource['schema'] = f'{_ADDRESS}/{package.version}/{name}-table-schema.json'
    return descriptor


def _without_addresses(descriptor: dict) -> dict:
    """Returns the descriptor without what frictionless would fetch."""
    kept = {key: value for key, value in descriptor.items() if key not in ('profile', '$schema')}
    kept['resources'] = [
        {key: value for key, value in resource.items() if key not in ('schema', 'dialect', 'profile', '$schema')}
        for resource in descriptor['resources']
    ]
    return kept


@cache
def _registry() -> Registry:
    """Returns what the profile refers to, in the forms that frictionless contains: data packages and GeoJSON."""
    geojson = json.loads((files('frictionless') / 'assets' / 'profiles' / 'geojson.json').read_text('utf-8'))
    known = {
        'https://specs.frictionlessdata.io/schemas/data-package.json': frictionless.Package.metadata_profile,
        'http://json.schemastore.org/geojson.json': geojson,
    }
    return Registry().with_resources([(name, DRAFT4.create_resource(content)) for name, content in known.items()])
