"""Batches of windows of kept features, gathered by NumPy. The examples are those of training on frames."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from chimp_jax.data.batch_plan import BatchPlan
from chimp_jax.data.example_cut import Example, cut_examples
from chimp_jax.data.operations import move_animals
from chimp_jax.training.kept_features import FLIP, KeptFeatures

FLIP_SHARE = 0.5  # of the examples: a picture and its mirror image are equally likely
_LABELS = ('time', 'window', 'distance', 'mask')
_ANIMALS = ('boxes', 'belief', 'animal_distance', 'animal_mask')


def cut_share(video_ids: Iterable[str], plan: BatchPlan, kept: KeptFeatures, mirrored: bool) -> dict[str, np.ndarray]:
    """Returns the E examples of a share of the clips, [E, ...] each, and [sides, E, ...] what a flip changes.

    Arrays: video_id [E] bytes, time, window, distance, mask (see
    input_pipeline.training_batches); frame [sides, E, S] rows of kept.features. With slots of animals also
    animal_distance, and by side boxes, belief, animal_mask and box [sides, E, S, A] rows of kept.boxes.
    """
    found: dict[str, list] = {name: [] for name in ('video_id', 'frame', 'box', *_LABELS, *_ANIMALS)}
    for video_id in video_ids:
        record = kept.records[video_id]
        row = kept.frame_rows(record)
        for example in cut_examples(vars(record), plan.windows, plan.animals, teacher=plan.teacher).examples:
            frame = row[example.frame]
            found['video_id'].append(video_id.encode())
            found['frame'].append([frame + side * kept.n_frames for side in range(1 + mirrored)])
            for name in _LABELS:
                found[name].append(getattr(example, name))
            if plan.animals.most:
                box = kept.box_rows(frame, example.boxes)
                found['box'].append([np.where(box, box + side * kept.n_boxes, 0) for side in range(1 + mirrored)])
                for name, sides in _sides(example, mirrored).items():
                    found[name].append(sides)
    arrays = {name: np.array(values) for name, values in found.items() if values}
    by_side = ('frame', 'box', 'boxes', 'belief', 'animal_mask')
    return {name: values.swapaxes(0, 1) if name in by_side else values for name, values in arrays.items()}


def _sides(example: Example, mirrored: bool) -> dict[str, list[np.ndarray] | np.ndarray]:
    """Returns the animals of an example: as they are and, if mirrored, in the mirror image."""
    sides = [(example.boxes, example.belief, example.animal_mask)]
    if mirrored:
        sides.append(move_animals(FLIP, example.boxes, example.window, example.belief, example.animal_mask))
    boxes, belief, animal_mask = zip(*sides, strict=True)
    by_side = {'boxes': list(boxes), 'belief': list(belief), 'animal_mask': list(animal_mask)}
    return by_side | {'animal_distance': example.animal_distance}


def feature_batches(
    shares: Mapping[int, Mapping[str, np.ndarray]],
    kept: KeptFeatures,
    plan: BatchPlan,
    steps: Iterable[int],
    seed: int,
    epoch: int,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields shuffled batches of an epoch, half of the examples mirrored if the features have mirror images.

    shares: `cut_share` by number. steps: the numbers of the batches, from 0. A batch has features [B, S, 1280] in place
    of frames, and with slots of animals also bins and mean (KeptFeatures.pooled); else it is one of
    input_pipeline.training_batches. Order and flips depend on seed, epoch and share alone.
    """
    draws = []
    for number in sorted(shares):
        random = np.random.default_rng([seed, epoch, number])
        n_sides, n_examples = shares[number]['frame'].shape[:2]
        order = random.permutation(n_examples)
        sides = (random.random(n_examples) < FLIP_SHARE) * (n_sides - 1)
        draws.append((shares[number], order, sides))
    for step in steps:
        some = slice(step * plan.examples_per_share, (step + 1) * plan.examples_per_share)
        yield _batch([(share, order[some], sides[some]) for share, order, sides in draws], kept)


def _batch(parts: Sequence[tuple[Mapping, np.ndarray, np.ndarray]], kept: KeptFeatures) -> dict[str, np.ndarray]:
    def of(name: str, by_side: bool = False) -> np.ndarray:
        return np.concatenate(
            [share[name][sides, chosen] if by_side else share[name][chosen] for share, chosen, sides in parts]
        )

    batch = {name: of(name) for name in ('video_id', *_LABELS)}
    batch['features'] = kept.features[of('frame', by_side=True)]
    if 'box' in parts[0][0]:
        batch |= kept.pooled(of('box', by_side=True))._asdict() | {'animal_distance': of('animal_distance')}
        batch |= {name: of(name, by_side=True) for name in ('boxes', 'belief', 'animal_mask')}
    return batch
