"""From a config to the model: the model files themselves take plain arguments."""

import jax.numpy as jnp
from ml_collections import ConfigDict

from chimp_jax import parallel
from chimp_jax.models.distance_model import DistanceModel


def make_model(config: ConfigDict) -> DistanceModel:
    """The model that config.model describes."""
    model = config.model
    return DistanceModel(
        drop_connect=model.drop_connect,
        bn_momentum=model.bn_momentum,
        lstm_units=model.lstm_units,
        dense_units=model.dense_units,
        normalization=model.normalization,
        replica_axis=parallel.AXIS if model.bn_over_replicas else None,
        dtype=jnp.dtype(model.dtype),
        backbone=model.backbone,
    )
