"""What the owner of a Camtrap DP package says of each medium: whether an animal is in view, and of which species."""

import collections
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import NamedTuple

import pandas as pd

_NO_ANIMAL = frozenset({'human', 'vehicle', 'blank'})
_COLUMNS = (
    'deploymentID',
    'mediaID',
    'eventID',
    'eventStart',
    'eventEnd',
    'observationLevel',
    'observationType',
    'scientificName',
    'classificationMethod',
)


class Said(NamedTuple):
    """What the owner says of a medium."""

    without_animal: bool = False  # every classification is human, vehicle or blank
    species: str = ''  # scientificName if all animals have the same one
    several_species: bool = False  # animals of several names, or some with a name and some without
    event_id: str = ''  # '' if none or several
    animal_events: int = 0  # event-based observations of animals that cover the medium


def owner_says(observations: pd.DataFrame, media: Iterable[Mapping]) -> dict[str, Said]:
    """Returns {mediaID: the owner's classes and species}.

    observations: of the owner, as text, empty text for missing values. media: with mediaID, deploymentID, timestamp.
    The rows of a medium are those with its mediaID. The rows of an event are said of the media of the deployment that
    were made between its start and end, or that have a row with its eventID. What a person says counts before what a
    machine says, and then rows of a medium count before rows of an event. If no animal of the rows that count has a
    name, the next rows name it.
    """
    rows = observations.reindex(columns=list(_COLUMNS), fill_value='').to_dict('records')
    of_medium, events = collections.defaultdict(list), collections.defaultdict(list)
    for row in rows:
        if row['observationType'] in ('', 'unclassified'):
            continue
        if row['mediaID']:
            of_medium[row['mediaID']].append(row)
        elif row['observationLevel'] == 'event':
            events[row['deploymentID']].append(row)
    said = {}
    for medium in media:
        own = of_medium[medium['mediaID']]
        names = {row['eventID'] for row in own} - {''}
        around = [
            row
            for row in events[medium['deploymentID']]
            if row['eventID'] in names or _is_within(row, medium['timestamp'])
        ]
        n_events = sum(row['observationType'] == 'animal' for row in around)
        said[medium['mediaID']] = _said(_in_order(own, around))._replace(animal_events=n_events)
    return said


@cache
def time_of(text: str) -> datetime:
    """Returns a time as Camtrap DP writes it, with its time zone. Raises ValueError if it is another text."""
    return datetime.strptime(text, '%Y-%m-%dT%H:%M:%S%z')


def _is_within(event: dict, timestamp: str) -> bool:
    try:
        return time_of(event['eventStart']) <= time_of(timestamp) <= time_of(event['eventEnd'])
    except ValueError:  # the validation names the row
        return False


def _in_order(of_medium: list[dict], of_events: list[dict]) -> list[list[dict]]:
    """Returns the rows in four groups, those that count most first, without empty groups."""
    groups = [
        [row for row in rows if (row['classificationMethod'] == 'machine') == by_machine]
        for by_machine in (False, True)
        for rows in (of_medium, of_events)
    ]
    return [group for group in groups if group]


def _said(groups: list[list[dict]]) -> Said:
    if not groups:
        return Said()
    rows = groups[0]
    types = {row['observationType'] for row in rows}
    named = [{row['scientificName'] for row in group if row['observationType'] == 'animal'} for group in groups]
    names = next((found for found in named if found - {''}), {''}) if named[0] else {''}
    events = {row['eventID'] for row in rows}
    return Said(
        without_animal=types <= _NO_ANIMAL,
        species=next(iter(names)) if len(names) == 1 else '',
        several_species=len(names) > 1,
        event_id=next(iter(events)) if len(events) == 1 else '',
    )
