"""Flags of the config's fields for argparse: --config.SECTION.FIELD=VALUE."""

import argparse
from collections.abc import Collection, Iterator
from typing import Any

from ml_collections.config_dict import ConfigDict

OVERRIDE = 'config.'  # what these flags begin with


def add_field_flags(parser: argparse.ArgumentParser, config: ConfigDict, but: Collection[str] = ()) -> None:
    """Adds a flag for each field of the config but those named. A flag that is not given leaves nothing."""
    fields = parser.add_argument_group(
        'fields of the config',
        '--config.SECTION.FIELD=VALUE changes a field, such as --config.train.epochs=4',
    )
    for path, value in _fields(config):
        if path not in but:
            fields.add_argument(
                f'--{OVERRIDE}{path}', type=_type_of(value), default=argparse.SUPPRESS, help=argparse.SUPPRESS
            )


def take_overrides(given: dict[str, Any]) -> dict[str, Any]:
    """Removes the fields from parsed flags and returns them: {'train.epochs': 4}."""
    return {name.removeprefix(OVERRIDE): given.pop(name) for name in list(given) if name.startswith(OVERRIDE)}


def _fields(config: ConfigDict, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Yields ('train.epochs', value) of all fields."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _fields(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def _type_of(value: Any) -> Any:
    known = {bool: _truth, tuple: _numbers}
    return known.get(type(value), type(value))


def _truth(text: str) -> bool:
    try:
        return {'true': True, 'false': False}[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f'{text!r} is not True or False') from None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.strip('()').split(',') if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not numbers such as 0,1,2.5') from None
