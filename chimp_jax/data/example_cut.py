"""A record -> its examples for training: frames, windows and labels, and the boxes of the animals in their slots.

NumPy arrays in and out. tf.data calls this file for each record and epoch.
"""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from chimp_jax.animals import slots
from chimp_jax.data import compositing
from chimp_jax.data.batch_plan import AnimalCut, WindowCut
from chimp_jax.data.teacher import Teacher
from data_prep import windows

# The belief in a box has this limit. The rest of each label trains the whole frame's distance, which is needed in
# seconds without boxes.
MOST_BELIEF = 0.9


class Example(NamedTuple):
    """S frames of a record with K windows, and A slots of animals (A = 0 without a region branch).

    frame [S] positions among the record's frames; window [K, T] positions among these S; time [K] seconds, -1 if
    unused; distance, mask [K]: the label of a second with one labelled animal. boxes [S, A, 5]; belief,
    animal_distance, animal_mask [K, A]: see steps.animal_error. pasted: what compositing pastes into the frames.
    """

    frame: np.ndarray
    window: np.ndarray
    time: np.ndarray
    distance: np.ndarray
    mask: np.ndarray
    boxes: np.ndarray
    belief: np.ndarray
    animal_distance: np.ndarray
    animal_mask: np.ndarray
    pasted: compositing.Pasted


class RecordExamples(NamedTuple):
    """The examples of a record; the distances that they train on, in metres; the number of those that they leave out.

    n_taught: the teacher's rows among these distances.
    """

    examples: list[Example]
    label_m: np.ndarray
    n_left_out: int
    n_taught: int = 0


def cut_examples(
    fields: Mapping, cut: WindowCut, animals: AnimalCut, draw: int | None = None, teacher: Teacher | None = None
) -> RecordExamples:
    """Returns the examples of a record. fields: of the record, its frames are not needed.

    Targets of one second share a window. Without slots (animals.most = 0) a second with several labelled animals is
    left out, because the model gives one distance a second. With slots, labels of such a second are left out if no box
    in the window shows the animal, or if the animal has no slot.
    draw: the number of the random choices of compositing, None for no compositing. teacher: whose distances are mixed
    with the labels, None for labels alone.
    """
    fields, n_taught = teacher.teach(fields, cut.n_frames, cut.step_s) if teacher else (fields, 0)
    times_s = fields['frame_time_s']
    tracks = slots.tracks_at(slots.ClipBoxes.of_record(fields), times_s) if animals.most else slots.no_tracks(times_s)
    labels, n_left_out = find_labels(fields, tracks, cut, animals.most > 0)
    plan = windows.plan_examples(times_s, labels.time, **cut._asdict())
    examples = []
    for number, (frame, window, target) in enumerate(zip(*plan, strict=True)):
        track, example, n_without = _example(labels, tracks, frame, window, target, animals.most)
        n_left_out += n_without
        if draw is not None:
            seed = [draw % 2**64, zlib.crc32(fields['video_id'].encode()), number]
            random = np.random.default_rng(seed)
            if random.random() < animals.composite_probability:
                example = _composited(labels, tracks, times_s, target, track, example, random)
        examples.append(example)
    return RecordExamples(examples, labels.distance_m, n_left_out, n_taught)


def find_labels(
    fields: Mapping, tracks: slots.Tracks, cut: WindowCut, with_slots: bool
) -> tuple[compositing.Labels, int]:
    """Returns the labels to train on, and the number of labels that are left out."""
    known = np.isfinite(fields['target_distance_m'])
    time, second, count = np.unique(fields['target_time_s'][known], return_inverse=True, return_counts=True)
    window = windows.window_positions(fields['frame_time_s'], time, cut.n_frames, cut.step_s)
    middle = window[:, cut.n_frames // 2]
    is_usable = count[second] == 1
    about = slots.Abouts(np.full(len(second), -1), np.zeros(len(second), bool))
    if with_slots:
        names = [name for name, is_known in zip(fields['target_animal'], known, strict=True) if is_known]
        about = slots.targets_about(tracks, middle[second], second, names, fields['target_box'][known])
        confidence = tracks.padded()[about.track[:, None], window[second], 4]
        is_usable |= about.is_certain & (confidence > 0).any(axis=1)
    kept = np.unique(second[is_usable])
    labels = compositing.Labels(
        time=time[kept].astype(np.int32),
        middle=middle[kept],
        is_single=count[kept] == 1,
        second=np.searchsorted(kept, second[is_usable]),
        distance_m=fields['target_distance_m'][known][is_usable],
        track=about.track[is_usable],
        is_certain=about.is_certain[is_usable],
    )
    return labels, int(np.sum(~is_usable))


def _example(
    labels: compositing.Labels,
    tracks: slots.Tracks,
    frame: np.ndarray,
    window: np.ndarray,
    target: np.ndarray,
    most: int,
) -> tuple[np.ndarray, Example, int]:
    """Returns the track in each slot [A], the example, and the number of labelled animals without a slot."""
    places = (len(target), most)
    time, distance, mask = np.full(len(target), -1, np.int32), *np.zeros((2, len(target)), np.float32)
    belief, animal_distance, animal_mask = np.zeros((3, *places), np.float32)
    here = target[target >= 0]
    wanted = labels.track[np.isin(labels.second, here) & labels.is_certain]
    track = slots.example_slots(tracks.box[:, labels.middle[here]], wanted, most)
    box = tracks.padded()[track]
    n_without = 0
    for k, second in enumerate(here):
        time[k] = labels.time[second]
        confidence = box[:, labels.middle[second], 4]
        for row in np.nonzero(labels.second == second)[0]:
            is_mine = (track == labels.track[row]) & labels.is_certain[row]
            if labels.is_single[second]:
                distance[k], mask[k] = labels.distance_m[row], 1
                is_likely = is_mine if labels.is_certain[row] else np.ones(most, bool)
                belief[k] = np.minimum(confidence * is_likely, MOST_BELIEF)
            else:
                animal_distance[k, is_mine], animal_mask[k, is_mine] = labels.distance_m[row], 1
                n_without += not is_mine.any()
    boxes = box[:, frame].swapaxes(0, 1)
    arrays = (frame, window, time, distance, mask, boxes, belief, animal_distance, animal_mask)
    return track, Example(*arrays, compositing.nothing_pasted(len(frame))), n_without


def _composited(
    labels: compositing.Labels,
    tracks: slots.Tracks,
    times_s: np.ndarray,
    target: np.ndarray,
    track: np.ndarray,
    example: Example,
    random: np.random.Generator,
) -> Example:
    """Returns the example with the animal of another second in a slot, or the example itself if none fits."""
    used = target >= 0
    donor = compositing.choose_donor(labels, tracks, times_s, target[used], random)
    own = np.nonzero(track == donor.host)[0] if donor else []
    free = [slot for slot in range(len(track)) if track[slot] != donor.host] if donor else []
    if not len(own) or not free:
        return example
    empty = [slot for slot in free if track[slot] < 0]
    slot = empty[0] if empty else free[-1]  # the last slot has the least confident animal
    boxes, (animal_distance, animal_mask) = example.boxes.copy(), np.zeros((2, *example.belief.shape), np.float32)
    pasted = compositing.plan_paste(donor, tracks, example.frame, boxes[:, own[0]])
    boxes[:, slot] = pasted.box
    for place, distance_m in ((own[0], donor.host_m), (slot, donor.donor_m)):
        animal_distance[used, place], animal_mask[used, place] = distance_m, 1
    return example._replace(
        mask=np.zeros_like(example.mask),
        distance=np.zeros_like(example.distance),
        belief=np.zeros_like(example.belief),
        boxes=boxes,
        animal_distance=animal_distance,
        animal_mask=animal_mask,
        pasted=pasted,
    )
