"""What the page asks the server, as JSON: targets, lines, references; answers, known points, undo."""

import json
import sys
import urllib.parse
from collections.abc import Mapping
from typing import Any

from chimp_jax.field.label.answers import ANSWER, DISTANCE, Answer, Target
from chimp_jax.field.label.frames import FrameStore
from chimp_jax.field.label.session import LabelRequest, LabelSession
from chimp_jax.field.label.survey import LabelClip


class Missing(LookupError):
    """The page asks for something that does not exist."""


def read(session: LabelSession, frames: FrameStore, path: str, query: str) -> dict:
    """Returns what a GET asks for. Raises Missing, or ValueError if the query is not valid."""
    asked = dict(urllib.parse.parse_qsl(query))
    if path == 'next':
        return _next(session, frames)
    if path == 'before':
        number = asked.get('id')
        if number is not None and not (number.isascii() and number.isdecimal()):
            raise ValueError('id must be a number')
        answer = session.before(None if number is None else int(number))
        return {'answer': None if answer is None else _answered(session, answer)}
    if path == 'help':
        clip = clip_by_number(session, asked.get('clip', ''))
        return session.help_for(clip, second_of(clip, asked.get('second', '')))
    raise Missing('there is no such page')


def act(session: LabelSession, frames: FrameStore, path: str, body: bytes) -> dict:
    """Does what a POST asks for, and returns the next target. Raises Missing; ValueError if the body is not valid."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError('the request is not JSON') from None
    if not isinstance(content, dict):
        raise ValueError('the request is not a JSON object')
    done: dict[str, Any] = {}
    if path == 'answer':
        request = _label_request(session, content)
        before = next((one for one in session.own_answers() if one.target == request.target), None)
        done['id'] = session.answer(request)
        done['replaced'] = before and {'kind': before.kind, 'distance': before.distance_m}
    elif path == 'later':
        session.set_aside(_target(session, content, 'target'))
    elif path == 'undo':
        entry = session.undo()
        done['undone'] = None if entry is None else _undone(session, entry)
    elif path == 'point':
        clip = clip_by_number(session, content.get('clip'))
        numbers = [_number(content, name) for name in ('x', 'y', 'distance')]
        done['id'] = session.add_point(clip, second_of(clip, content.get('second')), *numbers, content.get('what', ''))
    elif path != 'finish':
        raise Missing('there is no such page')
    return done | _next(session, frames)


def clip_by_number(session: LabelSession, number) -> LabelClip:
    """Returns the clip that the page names by its number: no path comes from the page. Raises Missing."""
    clips = session.survey.clips
    text = str(number)
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) < len(clips)):
        raise Missing('there is no such clip')
    return clips[int(text)]


def second_of(clip: LabelClip, second) -> int:
    """Returns a second of a clip. Raises Missing."""
    text = str(second)
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= clip.last_s):
        raise Missing('the clip has no such second')
    return int(text)


def _next(session: LabelSession, frames: FrameStore) -> dict:
    upcoming = session.upcoming()
    frames.ahead([(session.survey.by_name[clip], second) for clip, second, _ in upcoming])
    return {
        'target': _described(session, upcoming[0]) if upcoming else None,
        'near': bool(upcoming) and session.is_near_answer(upcoming[0]),
        'problem': session.problem,
        'ahead': [[session.survey.by_name[clip].number, second] for clip, second, _ in upcoming[1:]],
        'progress': session.progress(),
        'who': session.who,
        'hint': session.hint,
    }


def _described(session: LabelSession, target: Target) -> dict:
    """Returns everything that the page shows of a target. The estimate is not shown, so that nobody copies it."""
    video_id, second, animal = target
    survey = session.survey
    clip = survey.by_name[video_id]
    seconds = [s for s in range(clip.last_s + 1) if survey.boxes.get((video_id, s))]
    own = [answer for answer in session.own_answers() if answer.target[0] == video_id]
    return {
        'clip': clip.number,
        'name': video_id,
        'station': clip.camera,
        'last_s': clip.last_s,
        'second': second,
        'animal': animal,
        'boxes': {s: [[box.animal, *box.corners] for box in survey.boxes[video_id, s]] for s in seconds},
        'seconds': survey.seconds_of(video_id) if survey.only_candidates else None,
        'own': [[*answer.target[1:], answer.kind, answer.distance_m] for answer in own],
        'video': clip.path.rpartition('.')[2].lower() in ('mp4', 'm4v', 'mov', 'webm') and '://' not in clip.path,
    }


def _answered(session: LabelSession, answer: Answer) -> dict:
    return {
        'id': answer.id,
        'target': _described(session, answer.target),
        'kind': answer.kind,
        'distance': answer.distance_m,
    }


def _undone(session: LabelSession, entry: Mapping) -> dict:
    if entry['do'] != ANSWER:
        return {'what': 'point', 'distance': entry['distance']}
    target = (entry['clip'], entry['second'], entry['animal'])
    shown = _described(session, target) if session.survey.clip_of(target[0]) else None
    return {'what': 'answer', 'kind': entry['kind'], 'distance': entry.get('distance'), 'target': shown}


def _label_request(session: LabelSession, content: Mapping) -> LabelRequest:
    kind = content.get('kind')
    return LabelRequest(
        target=_target(session, content, 'target'),
        asked=_target(session, content, 'asked'),
        kind=kind if isinstance(kind, str) else '',
        distance_m=_number(content, 'distance') if kind == DISTANCE or content.get('distance') is not None else None,
        keys=min(1000, int(max(0, _number(content, 'keys')))),
        took_s=min(86400, max(0, _number(content, 'took_s'))),
    )


def _target(session: LabelSession, content: Mapping, name: str) -> Target:
    parts = content.get(name)
    if not isinstance(parts, list) or len(parts) != 3 or not isinstance(parts[2], str) or len(parts[2]) > 200:
        raise ValueError(f'{name} must be [clip, second, animal]')
    clip = clip_by_number(session, parts[0])
    return clip.video_id, second_of(clip, parts[1]), parts[2]


def _number(content: Mapping, name: str) -> float:
    value = content.get(name)
    # Python reads integers of any size from JSON, but float() refuses those above 1.8e308.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise ValueError(f'{name} must be a number')
    return float(value)
