"""The changes of datapackage.json."""

import hashlib
import json

from chimp_jax.field.exports.camtrap.descriptor import text_with, with_observations

EVENTS = """{
  "project" : {"observationLevel": [\t"event" ], "title": "Aff\\u00fbt \\"[\\", media"},
  "taxonomic": [
    {"scientificName": "Sus scrofa"}
  ],
  "resources": [{"name": "media", "bytes": 7}, {"name": "observations", "bytes" : 7,
    "hash": "sha256:00"}],  "observationLevel": ["event"]
}
"""


def added(*names, level='media'):
    return [{'observationLevel': level, 'scientificName': name} for name in names]


def test_only_what_is_no_longer_true_changes():
    old = json.loads(EVENTS)
    new, said = with_observations(old, added('', 'Sus scrofa', 'Meles meles'), b'table')
    expected = EVENTS.replace('[\t"event" ], "title"', '[\t"event",\t"media" ], "title"')
    expected = expected.replace('"Sus scrofa"}\n', '"Sus scrofa"},\n    {"scientificName": "Meles meles"}\n')
    expected = expected.replace('"bytes" : 7', '"bytes" : 5').replace(
        'sha256:00', f'sha256:{hashlib.sha256(b"table").hexdigest()}'
    )
    assert text_with(EVENTS, old, new) == expected
    assert said == [
        'project.observationLevel has media too',
        'taxonomic has Meles meles too',
        'bytes of observations is new',
        'hash of observations is new',
    ]
    assert old == json.loads(EVENTS)


def test_nothing_changes_if_all_is_still_true():
    old = json.loads(EVENTS.replace('["event"]', '["event", "media"]').replace('[\t"event" ]', '["media"]'))
    old['resources'][1] = {'name': 'observations'}
    new, said = with_observations(old, added('Sus scrofa'), b'table')
    assert (new, said) == (old, [])
    assert text_with('not even JSON', old, new) == 'not even JSON'
    new, said = with_observations(old, added('Sus scrofa', level='event'), b'table')
    assert new['project']['observationLevel'] == ['media', 'event']
    assert said == ['project.observationLevel has event too']


def test_a_checksum_without_a_method_is_md5_and_an_unknown_one_is_left_out():
    for given, expected in (('00', hashlib.md5(b'table').hexdigest()), ('crc32:00', None)):
        old = {'resources': [{'name': 'observations', 'hash': given, 'stats': {'rows': 3}}]}
        new, said = with_observations(old, [], b'table')
        assert new['resources'][0].get('hash') == expected and 'stats' not in new['resources'][0]
        assert 'stats of observations is left out' in said
        assert json.loads(text_with(json.dumps(old), old, new)) == new


def test_a_key_that_is_written_twice_still_ends_right():
    text = '{"a": [1], "a": [2], "b": 1}'
    assert json.loads(text_with(text, {'a': [2], 'b': 1}, {'a': [2, 3], 'b': 1})) == {'a': [2, 3], 'b': 1}


def test_an_empty_list_gains_an_item():
    assert text_with('{"a": [ ]}', {'a': []}, {'a': [{'b': 'ü'}]}) == '{"a": [{"b": "ü"}]}'
