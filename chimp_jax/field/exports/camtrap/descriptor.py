"""The few changes that new observations need in datapackage.json."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping

_WHITE = re.compile(r'[ \t\r\n]*')


def with_observations(descriptor: dict, added: Collection[Mapping[str, str]], data: bytes) -> tuple[dict, list[str]]:
    """Returns the descriptor of a package with new observations, and what changed, in words.

    added: the new observations. data: the new observations file.
    """
    changed, said = json.loads(json.dumps(descriptor)), []
    project = changed.get('project')
    levels = project.get('observationLevel') if isinstance(project, dict) else None
    for level in dict.fromkeys(row['observationLevel'] for row in added):
        if isinstance(levels, list) and level not in levels:
            levels.append(level)
            said.append(f'project.observationLevel has {level} too')
    taxa = changed.get('taxonomic')
    if isinstance(taxa, list):
        listed = {taxon.get('scientificName') for taxon in taxa if isinstance(taxon, dict)}
        new = sorted({row['scientificName'] for row in added} - listed - {''})
        taxa += [{'scientificName': name} for name in new]
        said += [f'taxonomic has {name} too' for name in new]
    (resource,) = [resource for resource in changed['resources'] if resource.get('name') == 'observations']
    said += _with_sums(resource, data)
    return changed, said


def _with_sums(resource: dict, data: bytes) -> list[str]:
    """Corrects the size and the checksum of a resource, if it states them. Returns what changed."""
    new = {}
    if 'bytes' in resource:
        new['bytes'] = len(data)
    if isinstance(resource.get('hash'), str):
        method, colon, _ = resource['hash'].rpartition(':')
        method = method or 'md5'  # of Data Package: an address without a method
        known = method in hashlib.algorithms_guaranteed and not method.startswith('shake')
        new['hash'] = method * bool(colon) + colon + hashlib.new(method, data).hexdigest() if known else None
    if 'stats' in resource:
        new['stats'] = None
    said = []
    for name, value in new.items():
        if value is None:
            del resource[name]
            said.append(f'{name} of observations is left out')
        elif resource[name] != value:
            resource[name] = value
            said.append(f'{name} of observations is new')
    return said


def text_with(text: str, old: dict, new: dict) -> str:
    """Returns the JSON text of `old` with the values of `new`. All other characters stay, where that is possible."""
    if old == new:
        return text
    try:
        edits = sorted(_edits(text, _start(text, 0), old, new), reverse=True)
        for start, end, replacement in edits:
            text = text[:start] + replacement + text[end:]
        if json.loads(text) == new:
            return text
    except (ValueError, LookupError):
        pass  # for example a key that is written twice
    return json.dumps(new, indent=2, ensure_ascii=False) + '\n'


def _edits(text: str, start: int, old, new) -> list[tuple[int, int, str]]:
    """Returns (start, end, replacement) for the values that differ. Raises LookupError if a key is removed or new."""
    if old == new:
        return []
    spans = _spans(text, start)
    if isinstance(old, dict) and isinstance(new, dict):
        return [edit for key in new for edit in _edits(text, spans[key][0], old[key], new[key])]
    if isinstance(old, list) and isinstance(new, list) and old:
        edits = [
            edit for i, (a, b) in enumerate(zip(old, new, strict=False)) for edit in _edits(text, spans[i][0], a, b)
        ]
        between = text[start + 1 : spans[0][0]]  # the white space before an element
        added = ''.join(f',{between or " "}{json.dumps(item, ensure_ascii=False)}' for item in new[len(old) :])
        return edits + ([(spans[len(old) - 1][1],) * 2 + (added,)] if added else [])
    return [(start, _end(text, start), json.dumps(new, ensure_ascii=False))]


def _spans(text: str, start: int) -> dict:
    """Returns {key or index: (start, end)} of the members of the object or array that begins at `start`."""
    spans, at, opening = {}, _start(text, start + 1), text[start]
    while opening in '{[' and text[at] not in '}]':
        key: str | int = len(spans)
        if opening == '{':
            key, at = json.JSONDecoder().raw_decode(text, at)
            at = _start(text, _start(text, at) + 1)  # after the colon
        end = _end(text, at)
        spans[key] = (at, end)
        at = _start(text, end)
        at = _start(text, at + 1) if text[at] == ',' else at
    return spans


def _start(text: str, at: int) -> int:
    return _WHITE.match(text, at).end()


def _end(text: str, start: int) -> int:
    return json.JSONDecoder().raw_decode(text, start)[1]
