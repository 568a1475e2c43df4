"""The names and shapes of a model's weights, to check weights from elsewhere before they become a member."""

import functools
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from chimp_jax.models import distance_model
from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.models.pretrained import check_fit


def fitted_variables(model_fields: Mapping[str, Any], arrays: dict[str, np.ndarray], source: str, remedy: str) -> dict:
    """Returns {'params', 'batch_stats'}, float32, of arrays by flat names such as 'params/lstm/bias'.

    model_fields: config.model. Raises PretrainedError if the arrays are not those of the whole model, ValueError if
    there is no such model.
    """
    check_fit(weight_shapes(model_fields), arrays, f'{source} does not fit the model', remedy)
    whole = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    return flax.traverse_util.unflatten_dict(whole, sep='/')


def weight_shapes(model_fields: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Returns {flat name: shape} of all weights of a model. Computes and stores no number of them."""
    return _shapes_of(DistanceModel(**model_fields))


@functools.lru_cache(maxsize=4)  # the members of a package have few models, and tracing one takes seconds
def _shapes_of(model: DistanceModel) -> dict[str, tuple[int, ...]]:
    tree = jax.eval_shape(lambda given: model.init(jax.random.key(0), **given), distance_model.smallest_inputs(model))
    return {name: leaf.shape for name, leaf in flax.traverse_util.flatten_dict(dict(tree), sep='/').items()}
