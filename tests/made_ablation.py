"""Files of finished members of an ablation, without training."""

import json

import pandas as pd

from chimp_jax.workdir import claim_recipe

# {clip: distances at 0 s and 1 s}
LABELS = {'a.mp4': (1.0, 3.0), 'b.mp4': (1.5, 10.0), 'c.mp4': (3.5, 12.0), 'd.mp4': (0.5, 5.0)}
FOLD_OF = {'a.mp4': 0, 'b.mp4': 1, 'c.mp4': 0, 'd.mp4': 1}


def write_member(study, name: str, seed: int, fold: int, add_m: float, scale_m=lambda video_id: 1.0) -> None:
    """Predictions are the labels plus add_m times the clip's scale."""
    recipe = study.folders(name)[seed]
    folder = recipe / f'fold_{fold}'
    folder.mkdir(parents=True)
    claim_recipe(recipe, study.config(name, seed))
    places = pd.DataFrame({'video_id': list(LABELS), 'site': ['s1', 's1', 's2', 's3'], 'park': ''})
    (recipe / 'clips.csv').write_text(places.to_csv(index=False))
    rows = [
        (clip, time, label, label + add_m * scale_m(clip))
        for clip, labels in LABELS.items()
        if FOLD_OF[clip] == fold
        for time, label in enumerate(labels)
    ]
    table = pd.DataFrame(rows, columns=['video_id', 'time', 'distance', 'prediction'])
    (folder / 'oof.csv').write_text(table.to_csv(index=False))
    (folder / 'costs.csv').write_text('epoch,seconds,memory_mb\n1,9.0,100\n2,2.0,200\n3,2.0,150\n')
    member = {'recipe': name, 'fold': fold, 'best_epoch': 1, 'folds_sha256': '', 'val_mae': 1.0, 'simulated': True}
    (folder / 'member.json').write_text(json.dumps(member))
