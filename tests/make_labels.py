"""Makes what the tests of the labelling page need: a survey, a session, answers."""

import datetime

import numpy as np
import pandas as pd

from chimp_jax.field.calibration.known_points import COLUMNS
from chimp_jax.field.label.candidates import Candidates
from chimp_jax.field.label.journal import Journal
from chimp_jax.field.label.session import LabelRequest, LabelSession
from chimp_jax.field.label.survey import AnimalBox, LabelClip, LabelSurvey
from chimp_jax.field.label.tables import KnownTable

NO_POINTS = pd.DataFrame(columns=COLUMNS)


def make_survey(last_s, boxes=None, only_candidates=False, folder='/clips', sites=None) -> LabelSurvey:
    """last_s: {video_id: last second}. boxes: {(video_id, second): [(animal, x1, y1, x2, y2)]}. sites: others."""
    boxes = {key: [AnimalBox(name, tuple(corners)) for name, *corners in found] for key, found in (boxes or {}).items()}
    clips = tuple(
        LabelClip(number, name, f'{folder}/{name}', station := name.rpartition('/')[0], station, last)
        for number, (name, last) in enumerate(last_s.items())
    )
    asked = [
        (clip, second, box.animal if box else '')
        for clip in clips
        for second in range(clip.last_s + 1)
        for box in (boxes.get((clip.video_id, second)) or ([] if only_candidates else [None]))
    ]
    missing = np.full(len(asked), np.nan)
    candidates = Candidates(
        np.array([clip.video_id for clip, _, _ in asked], object),
        np.array([clip.station for clip, _, _ in asked], object),
        np.array([second for _, second, _ in asked], int),
        np.array([animal for _, _, animal in asked], object),
        *[missing] * 5,
    )
    sites = {clip.video_id: clip.station for clip in clips} | (sites or {})
    return LabelSurvey(clips, candidates, boxes, only_candidates, sites)


def make_session(folder, survey, who='ama', known=None, points=NO_POINTS) -> LabelSession:
    (folder / 'labels.work').mkdir(parents=True, exist_ok=True)
    journal = Journal(folder / 'labels.work' / 'answers.jsonl')
    now = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    return LabelSession(survey, journal, who, folder / 'labels.csv', known or KnownTable(), points, 'hint', lambda: now)


def give(session, clip, second, answer, animal='') -> int:
    """Answers: a number is a distance, a text another kind."""
    target = (clip, second, animal)
    kind, distance_m = (answer, None) if isinstance(answer, str) else ('distance', answer)
    return session.answer(LabelRequest(target, target, kind, distance_m, keys=3, took_s=6.0))
