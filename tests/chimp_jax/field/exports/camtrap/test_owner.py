"""What the owner says of a medium, from rows of media and of events, of persons and of machines."""

import pandas as pd
import pytest

from chimp_jax.field.exports.camtrap.owner import Said, owner_says

MEDIUM = {'mediaID': 'm1', 'deploymentID': 'd1', 'timestamp': '2024-03-02T12:00:30+02:00'}
EVENT = {
    'deploymentID': 'd1',
    'eventID': 'e1',
    'eventStart': '2024-03-02T10:00:00Z',
    'eventEnd': '2024-03-02T10:01:00Z',
    'observationLevel': 'event',
}


def of_medium(kind, species='', method='human', **cells):
    row = {'observationType': kind, 'scientificName': species, 'classificationMethod': method}
    return EVENT | {'mediaID': 'm1', 'observationLevel': 'media', **row, **cells}


def of_event(kind, species='', method='human', **cells):
    return of_medium(kind, species, method) | {'mediaID': '', 'observationLevel': 'event', **cells}


def said(*rows):
    return owner_says(pd.DataFrame(list(rows), dtype=object), [MEDIUM])['m1']


@pytest.mark.parametrize(
    ('rows', 'without_animal'),
    [
        ([of_medium('human')], True),
        ([of_medium('blank')], True),
        ([of_medium('vehicle'), of_medium('human')], True),
        ([of_medium('human'), of_medium('animal')], False),
        ([of_medium('human'), of_medium('unknown')], False),
        ([of_medium('unclassified')], False),
        ([of_medium('unclassified'), of_medium('blank')], True),
        ([of_medium('animal', method='machine'), of_medium('blank')], True),  # a person counts before a machine
        ([of_medium('blank', method='machine'), of_medium('animal', method='')], False),
        ([of_medium('blank', method='machine')], True),
        ([of_medium('blank', mediaID='m2')], False),
        ([of_event('blank')], True),
        ([of_event('blank'), of_medium('animal')], False),  # the medium counts before the event
        ([of_event('animal'), of_medium('blank')], True),
        ([of_event('animal'), of_medium('blank', method='machine')], False),
        ([of_event('human', deploymentID='d2')], False),
        ([of_event('human', eventEnd='2024-03-02T10:00:29Z')], False),  # the medium is of 10:00:30
        ([of_event('human', eventEnd='2024-03-02T10:00:30Z')], True),
        ([of_event('human', eventEnd='unknown')], False),
    ],
)
def test_media_without_an_animal(rows, without_animal):
    assert said(*rows).without_animal == without_animal


@pytest.mark.parametrize(
    ('rows', 'species', 'several'),
    [
        ([of_medium('animal', 'Vulpes vulpes')], 'Vulpes vulpes', False),
        ([of_medium('animal', 'Vulpes vulpes'), of_medium('animal', 'Vulpes vulpes')], 'Vulpes vulpes', False),
        ([of_medium('animal', 'Vulpes vulpes'), of_medium('animal', 'Meles meles')], '', True),
        ([of_medium('animal', 'Vulpes vulpes'), of_medium('animal')], '', True),  # the other animal has no name
        ([of_medium('animal', 'Vulpes vulpes'), of_medium('human', 'Homo sapiens')], 'Vulpes vulpes', False),
        ([of_medium('animal', 'Aves', 'machine'), of_medium('animal', 'Ardea cinerea')], 'Ardea cinerea', False),
        ([of_event('animal', 'Vulpes vulpes')], 'Vulpes vulpes', False),
        ([of_event('animal', 'Vulpes vulpes'), of_event('animal', 'Meles meles')], '', True),
        ([of_medium('animal')], '', False),
        ([of_medium('animal'), of_event('animal', 'Vulpes vulpes')], 'Vulpes vulpes', False),  # the event names it
        (
            [of_medium('animal', eventID='e2'), of_event('animal', 'Sus', eventID='e2', eventEnd='unknown')],
            'Sus',
            False,
        ),
        ([of_medium('unknown'), of_event('animal', 'Vulpes vulpes')], '', False),
        ([of_medium('animal', 'Sus'), of_event('animal', 'Meles'), of_event('animal', 'Pan')], 'Sus', False),
    ],
)
def test_species(rows, species, several):
    answer = said(*rows)
    assert (answer.species, answer.several_species) == (species, several)


def test_the_event_of_a_medium():
    assert said(of_event('animal')).event_id == 'e1'
    assert said(of_event('animal'), of_event('animal', eventID='e2')).event_id == ''
    assert owner_says(pd.DataFrame(columns=['observationID']), [MEDIUM]) == {'m1': Said()}
