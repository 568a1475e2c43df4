"""What an ablation consists of: the base config, its variants, the seeds, and where each part lies.

WORKDIR/seed_<s>/<variant>/            the folder of a recipe (see train.py), with the variant's name for the model ID
WORKDIR/seed_<s>/<variant>/oof.csv     of a variant that only predicts: out-of-fold predictions of the base's members

So `chimp-distance ensemble --members WORKDIR/seed_0` reads the variants of a seed as recipes.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from etils import epath
from ml_collections import ConfigDict

from chimp_jax.configs.variants import Variant
from chimp_jax.workdir import check_owner
from data_prep.files import read_json

BASE = 'base'


class Study(NamedTuple):
    """A base config and the variants that are compared with it, each with every seed."""

    base: ConfigDict
    variants: Mapping[str, Variant]  # without the base
    n_seeds: int
    workdir: epath.Path

    def variant(self, name: str) -> Variant:
        return Variant('What the others are compared with.') if name == BASE else self.variants[name]

    def names(self) -> list[str]:
        return [BASE, *self.variants]

    def seed_folder(self, seed: int) -> epath.Path:
        return self.workdir / f'seed_{seed}'

    def folders(self, name: str) -> list[epath.Path]:
        """Returns the variant's folder of each seed."""
        return [self.seed_folder(seed) / name for seed in range(self.n_seeds)]

    def config(self, name: str, seed: int) -> ConfigDict:
        """Returns the config of a variant. Raises ValueError with the field's name if a change does not fit."""
        variant = self.variant(name)
        config = self.base.copy_and_resolve_references()
        try:
            config.update_from_flattened_dict(variant.changes)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f'variant {name}: {" ".join(str(error).split())}') from None
        if variant.build:
            config.data.records += '-' + variant.build.replace('=', '-')
        config.recipe = name
        config.seed += seed * config.data.n_folds  # a fold adds its number, so no two members have the same seed
        return config.lock()

    def missing_records(self, name: str) -> str:
        """Returns what to do if the variant's records are missing, else ''."""
        records, variant = self.config(name, 0).data.records, self.variant(name)
        if (epath.Path(records) / 'folds.csv').exists():
            return ''
        if variant.build:
            return (
                f'requires other records; make them with the command that made {self.base.data.records}, and '
                f'--{variant.build} --out={records}'
            )
        return f'requires the records {records}; make them with: python -m data_prep.build --out {records}'

    def left(self, name: str) -> int:
        """Returns the number of the variant's parts that are not finished: members, or tables of predictions."""
        if self.variant(name).tta:
            return sum(not (folder / 'oof.csv').exists() for folder in self.folders(name))
        markers = [marker for folder in self.folders(name) for marker in folder.glob('fold_*/member.json')]
        n_finished = sum(read_json(marker) is not None for marker in markers)
        return self.n_seeds * self.config(name, 0).data.n_folds - n_finished


def make_study(base: ConfigDict, variants: Mapping[str, Variant], only: Sequence[str], n_seeds: int, workdir) -> Study:
    """Returns the study with the variants in `only`, all if it is empty. The base is always part of it.

    Raises ValueError for an unknown name, a number of seeds below 1, a change that does not fit, and a folder in the
    workdir that belongs to another config.
    """
    unknown = [name for name in only if name not in variants and name != BASE]
    if unknown:
        raise ValueError(f'--only={unknown[0]}: there is no such variant; there are {", ".join(variants)}')
    if n_seeds < 1:
        raise ValueError(f'--seeds={n_seeds}: give 1 or more; 3 show how much seeds differ')
    chosen = {name: variant for name, variant in variants.items() if not only or name in only}
    study = Study(base, chosen, n_seeds, epath.Path(workdir))
    for name in study.names():
        for seed, folder in enumerate(study.folders(name)):
            check_owner(folder, study.config(name, seed))
    return study


def read_config_file(argument: str) -> tuple[ConfigDict, Mapping[str, Variant]]:
    """Reads FILE.py or FILE.py:MODEL-ID: get_config() and VARIANTS of the file. Raises ValueError if one is missing."""
    path, _, recipe = argument.partition('.py:')
    path = Path(f'{path}.py' if recipe else path)
    if not path.is_file():
        raise ValueError(f'--config={argument}: there is no file {path}; give one such as configs/ablations.py')
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not getattr(module, 'VARIANTS', None):
        raise ValueError(f'--config={argument}: the file has no VARIANTS; see configs/ablations.py for the form')
    return module.get_config(*([recipe] if recipe else [])), module.VARIANTS
