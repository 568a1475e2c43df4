"""The categories of a detector: which of them are animals that count, and the name that an animal gets."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from data_prep.inputs.tables import check_unique, read_table

ANIMAL = 'animal'
PERSONS = frozenset({'person', 'human', 'people'})
_NO_ANIMALS = PERSONS | {'vehicle', 'blank', 'empty'}
_EMPTY_ID = '0'  # MegaDetector's format reserves it for pictures without an object
_MOST_NAMES = 40  # in a message


class Categories(NamedTuple):
    """The categories of one file."""

    names: dict[str, str]  # {id or name in lower case: name as written}; empty if the file does not name them
    counted: frozenset[str]  # the names, in lower case, of the animals that count

    def name(self, category: Any) -> str | None:
        """Returns the name of a detection's category, None if the file does not list it."""
        return self.names.get(category_key(category))

    def counts(self, name: str) -> bool:
        return name.casefold() in self.counted

    def is_another_animal(self, name: str) -> bool:
        """Returns whether a category is neither counted nor a person, a vehicle or a blank."""
        return name.casefold() not in self.counted | _NO_ANIMALS

    def means_empty(self, category: Any) -> bool:
        return self.name(category) is None and category_key(category) == _EMPTY_ID


def category_key(category: Any) -> str:
    """Returns a category as text in lower case, '' if it is neither a number nor a text."""
    if isinstance(category, float) and category.is_integer():
        category = int(category)
    return str(category).strip().casefold() if isinstance(category, int | str) else ''


def category_names(listed: Any) -> dict[str, str]:
    """Returns {id or name in lower case: name} from {id: name}, [{'id': id, 'name': name}] or [name of 0, ...].

    Raises ValueError if the list has another form.
    """
    if isinstance(listed, list):
        pairs = [(c.get('id'), c.get('name')) if isinstance(c, dict) else (i, c) for i, c in enumerate(listed)]
        listed = {str(number): name for number, name in pairs}
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise ValueError('are not {id: name}; write {id: name}')
    names = [name.strip() for name in listed.values()]
    ids = {number.strip().casefold(): name for number, name in zip(listed, names, strict=True)}
    return {name.casefold(): name for name in names} | ids


def choose_categories(names: dict[str, str], animals: Sequence[str] | None, file: str) -> Categories:
    """Returns the categories of which the animals count: those of --animals, or the category `animal`.

    names: of category_names. animals: None if the user names none. file: what the message begins with.
    Raises ValueError with the remedy if a name of `animals` is not in the file, or if the user names none and the file
    has a category that is neither an animal, a person, a vehicle nor a blank.
    """
    listed = list(dict.fromkeys(names.values()))
    known = {name.casefold() for name in listed}
    if animals:
        unknown = [name for name in animals if name.casefold() not in known]
        if unknown and listed:
            raise ValueError(f'--animals: {file} has no category {_quoted(unknown)}; it has {_quoted(listed)}')
        return Categories(names, frozenset(name.casefold() for name in animals))
    others = [name for name in listed if name.casefold() not in _NO_ANIMALS | {ANIMAL}]
    if others or (listed and ANIMAL not in known):
        example = ','.join(others or listed)
        raise ValueError(
            f'{file} has the categories {_quoted(listed)}; say which of them are the animals to count, for example '
            f'--animals "{_shortened(example)}"'
        )
    return Categories(names, frozenset({ANIMAL}))


def split_names(text: str) -> tuple[str, ...]:
    """Returns the names in 'duiker, "a, with a comma"'. Raises ValueError for an empty text."""
    names = next(csv.reader([text], skipinitialspace=True), [])
    names = tuple(name.strip() for name in names if name.strip())
    if not names:
        raise ValueError('--animals names no category; write names with commas between them')
    return names


def read_species(path) -> dict[str, str]:
    """Returns {label in lower case: scientific name} of a CSV with the columns label and scientificName.

    Raises ValueError with file and row if the table cannot be read or has a label twice.
    """
    table = read_table(path, required=['label', 'scientificName'])
    table = table.assign(label=table['label'].str.strip().str.casefold())
    check_unique(table, ['label'], path)
    return dict(zip(table['label'], table['scientificName'].str.strip(), strict=True))


def scientific_names(labels: Iterable[str], species: Mapping[str, str]) -> list[str]:
    """Returns the scientific name of each label, '' if the user's table has none. The label '' stands for `animal`."""
    texts = ('' if label is None or label != label else str(label) for label in labels)  # NaN in a read table
    return [species.get((text.strip() or ANIMAL).casefold(), '') for text in texts]


def _quoted(names: Iterable[str]) -> str:
    names = [repr(name) for name in names]
    more = f' and {len(names) - _MOST_NAMES} more' if len(names) > _MOST_NAMES else ''
    return ', '.join(names[:_MOST_NAMES]) + more


def _shortened(text: str) -> str:
    return text if len(text) <= 400 else text[:400].rpartition(',')[0] + ',...'
