"""What an ablation consists of: the base config, its variants, the seeds, and where each part lies.

WORKDIR/seed_<s>/<variant>/            the folder of a recipe (see train.py), with the variant's name for the model ID
WORKDIR/seed_<s>/<variant>/oof.csv     of a variant that only predicts: out-of-fold predictions of the base's members

So `chimp-distance ensemble --members WORKDIR/seed_0` reads the variants of a seed as recipes.
"""

import importlib.util
import re
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from etils import epath
from ml_collections import ConfigDict

from chimp_jax.configs.variants import Variant
from chimp_jax.data.operations import OPERATION_SETS
from chimp_jax.training.config_checks import check_configs
from chimp_jax.workdir import check_owner
from data_prep.files import read_json

BASE = 'base'
_NAME = re.compile(r'\w[\w.-]*')  # of a variant: a folder has it


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
            text = re.sub(r' Other fields present: ".*"', '', str(error.args[0]))
            raise ValueError(f'variant {name}: {" ".join(text.split())}') from None
        if variant.build:
            config.data.records += '-' + variant.build.replace('=', '-')
        config.recipe = name
        config.seed += seed * config.data.n_folds  # a fold adds its number, so no two members have the same seed
        return config.lock()

    def obstacle(self, name: str) -> str:
        """Returns why the variant cannot be trained or predict, and what to do, else ''."""
        tta = self.variant(name).tta
        if tta and tta not in OPERATION_SETS:
            return f'has tta={tta!r}; give {" or ".join(OPERATION_SETS)}'
        try:
            check_configs([self.config(name, 0)], self.seed_folder(0))
        except ValueError as error:
            return f'cannot be trained: {error}'
        return self._missing_records(name)

    def _missing_records(self, name: str) -> str:
        """Returns what to do if the variant's records are missing, else ''."""
        records, variant = self.config(name, 0).data.records, self.variant(name)
        if (epath.Path(records) / 'folds.csv').exists():
            return ''
        if variant.build:
            return (
                f'requires other records; make them with the command that made {self.base.data.records}, and '
                f'--{variant.build} --out={records}'
            )
        return f'requires the records {records}; make them with python -m data_prep.build, or set --config.data.records'

    def left(self, name: str) -> int:
        """Returns the number of the variant's parts that are not finished: members, or tables of predictions."""
        if self.variant(name).tta:
            return sum(not (folder / 'oof.csv').exists() for folder in self.folders(name))
        markers = [marker for folder in self.folders(name) for marker in folder.glob('fold_*/member.json')]
        n_finished = sum(read_json(marker) is not None for marker in markers)
        return self.n_seeds * self.config(name, 0).data.n_folds - n_finished


def parts_text(n_parts: int) -> str:
    return f'{n_parts} part{"s" * (n_parts > 1)}'


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
    """Reads FILE.py or FILE.py:MODEL-ID: get_config() and VARIANTS. Raises ValueError if they do not fit."""
    path, _, recipe = argument.partition('.py:')
    path = Path(f'{path}.py' if recipe else path)
    if not path.is_file() or path.suffix != '.py':
        raise ValueError(f'--config={argument}: there is no Python file {path}; give one such as configs/ablations.py')
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        _check_module(module)
        return module.get_config(*([recipe] if recipe else [])), module.VARIANTS
    except Exception as error:
        if isinstance(error, ValueError):
            raise ValueError(f'--config={argument}: {error}') from None
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).resolve() == path.resolve()
        ]
        where = f'line {lines[-1]}: ' if lines else ''
        raise ValueError(f'--config={argument}: {where}{type(error).__name__}: {error}') from None


def _check_module(module: ModuleType) -> None:
    """Raises ValueError if a config file lacks get_config or VARIANTS, or if a variant does not have its form."""
    missing = [name for name in ('get_config', 'VARIANTS') if not getattr(module, name, None)]
    if missing:
        raise ValueError(f'the file has no {" and no ".join(missing)}; see configs/ablations.py for the form')
    if not isinstance(module.VARIANTS, Mapping):
        raise ValueError('VARIANTS is no dictionary; see configs/ablations.py for the form')
    for name, variant in module.VARIANTS.items():
        if name == BASE or not _NAME.fullmatch(str(name)):
            raise ValueError(f'variant {name!r}: choose a name of letters, digits and _, other than {BASE}')
        # A checkout has the class twice: as configs.variants.Variant, too.
        if getattr(variant, '_fields', ()) != Variant._fields or not isinstance(variant.changes, Mapping):
            raise ValueError(f"variant {name}: give Variant('question', {{'data.n_frames': 9}})")
        if variant.tta and (variant.changes or variant.build):
            raise ValueError(f'variant {name}: tta takes the members of the base, so it goes with no other change')
