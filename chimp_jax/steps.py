"""The pure steps: training, encoding frames, distances of windows. No devices, no files, no config.

`axis_name` is the mapped axis of replicas. parallel.py maps the steps over devices; tests also map them over one.
The arguments that are mapped (state, batch, ...) are positional, because pmap and vmap map positional arguments by
their axes. All other arguments and all calls of the model have keywords.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax.training.dynamic_scale import DynamicScale

from chimp_jax import optim
from chimp_jax.models import losses
from chimp_jax.models.distance_model import DistanceModel, compute_dtype, fresh_variables
from chimp_jax.models.regions import Pooled


class Mean(NamedTuple):
    """A mean to which more can be added: the sum over the rows that count, and their number."""

    total: jax.Array | float
    count: jax.Array | float

    def __add__(self, other: 'Mean') -> 'Mean':
        return Mean(self.total + other.total, self.count + other.count)

    def value(self) -> float:
        """Returns the mean, NaN if no row counts."""
        return float(self.total) / float(self.count) if self.count else float('nan')


def absolute_error(prediction_m: jax.Array, distance_m: jax.Array, mask: jax.Array) -> Mean:
    """Returns the masked absolute error in metres: the loss, and the metric of the challenge. All have one shape."""
    return Mean(losses.absolute_loss(prediction_m, distance_m, mask), jnp.sum(mask.astype(jnp.float32)))


def animal_error(prediction_m: jax.Array, batch: dict[str, jax.Array]) -> Mean:
    """Returns the loss of predictions [B, K, 1 + A] (the whole frame, then A slots of animals) in metres.

    batch: distance, mask [B, K]; belief [B, K, A] (0..1) that a slot holds the labelled animal at the window's second;
    animal_distance, animal_mask [B, K, A]: labels of single slots.
    A label in `distance` belongs to one animal, nobody knows for certain to which. With p, the largest belief, the loss
    is p times the slots' error plus 1 - p times the whole frame's. The slots' error is a soft minimum: slots weigh by
    belief times exp(-error / 1 m), and no gradient flows through these weights. Without belief this is `absolute_error`
    of the whole frame. A label of a single slot counts in full, besides.
    """
    whole, animals = prediction_m[..., 0], prediction_m[..., 1:]
    belief = batch['belief']
    label = jnp.where(batch['mask'] > 0, batch['distance'], whole)
    error = jnp.abs(animals - label[..., None])
    logits = jnp.where(belief > 0, jnp.log(jnp.where(belief > 0, belief, 1.0)) - error, -1e9)  # finite: no 0 / 0
    weight = jax.lax.stop_gradient(jax.nn.softmax(logits, axis=-1))
    p = belief.max(axis=-1)
    either = p * jnp.sum(weight * error, axis=-1) + (1 - p) * jnp.abs(whole - label)
    one_label = Mean(jnp.sum(jnp.where(batch['mask'] > 0, either, 0.0)), jnp.sum(batch['mask'].astype(jnp.float32)))
    return one_label + absolute_error(animals, batch['animal_distance'], batch['animal_mask'])


@flax.struct.dataclass
class TrainState:
    """Everything that training carries from update to update, a plain tree.

    plateau.scale is the factor on the learning rate. The plateau's state changes between epochs only.
    loss_scale: the factor on the loss, in float16 only.
    """

    step: jax.Array
    key: jax.Array  # raw key data: the seed of drop-connect, folded with the step and the replica
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    plateau: Any
    loss_scale: DynamicScale | None = None


def forward_frames(
    params: Any, batch_stats: Any, part: dict[str, jax.Array], key: jax.Array, *, model: DistanceModel
) -> tuple[jax.Array, Any]:
    """Returns the predictions of a part of the batch in training, and the running averages after it."""
    prediction, updated = model.apply(
        {'params': params, 'batch_stats': batch_stats},
        frames=part['frames'] if model.sees_frames else None,
        window=part['window'],
        boxes=part['boxes'] if model.regions else None,
        sound=part['sound'] if model.audio else None,
        train=True,
        mutable=['batch_stats'],
        rngs={'dropout': key},
    )
    return prediction, updated['batch_stats']


def forward_features(
    params: Any, batch_stats: Any, part: dict[str, jax.Array], key: jax.Array, *, model: DistanceModel
) -> tuple[jax.Array, Any]:
    """Returns the predictions from kept features [B, S, 1280]. The backbone's variables are not needed.

    For a model with regions, part also has what the boxes [B, S, A, 5] pool: bins [B, S, A, 7, 7, C] and mean
    [B, S, A, 1280].
    """
    given = {name: part[name] for name in ('features', 'window')}
    if model.regions:
        given |= {'pooled': Pooled(part['bins'], part['mean']), 'boxes': part['boxes']}
    return model.apply({'params': params}, **given, method='distances_of_look'), batch_stats


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    learning_rate: jax.Array,
    *,
    model: DistanceModel,
    optimizer: optax.GradientTransformation,
    axis_name: str,
    micro_batches: int = 1,
    forward: Callable = forward_frames,
    loss: losses.Loss = losses.absolute_loss,
) -> tuple[TrainState, Mean]:
    """Computes one update on one replica's share of the batch. Returns the masked absolute error of all replicas, too.

    batch: frames [B, S, H, W, 3] 0..255, window [B, K, T] int32, distance [B, K] float32, mask [B, K]. For a model with
    regions also boxes [B, S, A, 5] and the other arrays of `animal_error`. For a model with audio also sound
    [B, S, R, bands] uint8; with the sound alone, no frames.
    forward: forward_frames trains the whole network, forward_features all but the backbone; the state then has neither
    the backbone's parameters nor batch statistics, and the batch has features in place of frames.
    loss: whose gradient is followed (losses.py); a model with regions has its own, `animal_error`.
    learning_rate: of this update, before the plateau's factor. It is an argument, so a schedule compiles nothing again.
    micro_batches: number of parts of the share, computed one after the other to save memory. Each part acts as a
    replica: D replicas with M parts do the same as D * M replicas, if batch statistics are taken per replica.
    The gradient is the gradient of the mean over all replicas' windows. Batch statistics are taken per part, as
    published. The running averages are their mean over all parts. Averaging at each update or once before evaluation
    is equivalent, because averaging is linear.
    With a loss scale, a step that is not finite on one of the replicas is skipped on all: only the step's number and
    the scale change, and the total of the error is NaN.
    """
    replica = jax.lax.axis_index(axis_name)
    step_key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)

    def part_sums(number, part):
        key = jax.random.fold_in(step_key, replica * micro_batches + number)

        def loss_sum(params):
            prediction, batch_stats = forward(params, state.batch_stats, part, key, model=model)
            if model.regions:
                error = animal_error(prediction, part)
                return error.total, (error, batch_stats)
            labels = part['distance'], part['mask']
            return loss(prediction, *labels), (absolute_error(prediction, *labels), batch_stats)

        gradient, (error, batch_stats) = _gradient(loss_sum, state.params, state.loss_scale)
        return gradient, error, batch_stats

    gradient, error, batch_stats = _sum_over_parts(part_sums, batch, micro_batches)
    batch_stats = jax.tree.map(lambda x: x / micro_batches, batch_stats)
    error = jax.tree.map(lambda x: jax.lax.psum(x, axis_name), error)
    gradient = jax.tree.map(lambda g: jax.lax.psum(g, axis_name) / jnp.maximum(error.count, 1.0), gradient)
    direction, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    rate = learning_rate * state.plateau.scale
    new_state = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, jax.tree.map(lambda u: rate * u, direction)),
        batch_stats=jax.lax.pmean(batch_stats, axis_name),
        opt_state=opt_state,
    )
    if state.loss_scale is not None:
        finite = _all_finite((gradient, new_state.batch_stats, error))
        new_state = _unless_skipped(new_state, state, finite)
        error = error._replace(total=jnp.where(finite, error.total, jnp.nan))
    return new_state, error


def _gradient(loss_sum: Callable, params: Any, loss_scale: DynamicScale | None) -> tuple[Any, Any]:
    """Returns the gradient in float32, and what loss_sum returns besides the loss. The scale acts within only."""
    if loss_scale is None:
        return jax.grad(loss_sum, has_aux=True)(params)
    result = loss_scale.value_and_grad(loss_sum, has_aux=True)(params)
    return result.grad, result.aux[1]


def _all_finite(tree: Any) -> jax.Array:
    return jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _unless_skipped(new: TrainState, old: TrainState, finite: jax.Array) -> TrainState:
    """Returns the new state if the step is finite, else the old one after the step. Both have the next loss scale.

    The step's number is the place in the schedule and in the order of the batches, so a skipped step counts.
    """
    kept = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)
    return kept.replace(step=new.step, loss_scale=optim.next_loss_scale(old.loss_scale, finite))


def _sum_over_parts(part_sums: Callable, batch: Any, n_parts: int) -> Any:
    """Returns the sum of part_sums(number, part) over equal parts of the batch's first axis, one after the other."""
    if n_parts == 1:
        return part_sums(0, batch)
    parts = jax.tree.map(lambda x: x.reshape(n_parts, len(x) // n_parts, *x.shape[1:]), batch)
    shapes = jax.eval_shape(part_sums, 0, jax.tree.map(lambda x: x[0], parts))

    def add(total, numbered):
        return jax.tree.map(jnp.add, total, part_sums(*numbered)), None

    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(add, zeros, (jnp.arange(n_parts), parts))[0]


def encode_step(
    weights: dict[str, Any],
    frames: jax.Array,
    there: jax.Array,
    boxes: jax.Array | None = None,
    *,
    model: DistanceModel,
    one_by_one: bool = False,
) -> tuple[jax.Array, Pooled | None]:
    """frames [N, H, W, 3] uint8 -> features [N, 1280] and, with boxes [N, A, 5], what they pool (DistanceModel.look).

    Each frame is on its own: running batch statistics. The weights need not hold more than the backbone.
    there [N] bool: False for frames that only fill the call; their results are meaningless. one_by_one: loops over the
    frames, so that a frame's feature maps stay in a CPU core's cache, and skips frames that only fill.
    """

    def encode(frames, boxes):
        one_each = None if boxes is None else boxes[:, None]
        encoded = model.apply(weights, frames=frames[:, None], boxes=one_each, method='look')
        return jax.tree.map(lambda x: x[:, 0], encoded)

    if not one_by_one:
        return encode(frames, boxes)

    encode = jax.jit(encode, inline=True)  # traced once for its shapes and its result: tracing takes half of a start

    def one(numbered):
        frame, is_there, boxes = jax.tree.map(lambda x: x[None], numbered)
        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(encode, frame, boxes))
        encoded = jax.lax.cond(is_there[0], lambda: encode(frame, boxes), lambda: nothing)
        return jax.tree.map(lambda x: x[0], encoded)

    return jax.lax.map(one, (frames, there, boxes))


def product_step(weights: dict[str, Any], features: jax.Array, *, model: DistanceModel) -> jax.Array:
    """features [N, 1280] -> the LSTM's product with each, [N, 4 U], which `eval_step` takes if `multiplied`."""
    return model.apply(weights, features=features, method='product')


def hear_step(weights: dict[str, Any], rows: jax.Array, *, model: DistanceModel) -> jax.Array:
    """Rows of windows [N, T * R, bands] uint8 -> features [N, 1280] of the sound, by the running batch statistics."""
    return model.apply(weights, rows=rows, method='hear')


def tokens_step(weights: dict[str, Any], batch: dict[str, Any], *, model: DistanceModel) -> jax.Array:
    """features [N, 1280], pooled and boxes [N, A, 5] -> tokens [N, 1 + A, 1280], without the backbone."""
    return model.apply(weights, **jax.tree.map(lambda x: x[:, None], batch), method='tokens')[:, 0]


def eval_step(
    weights: dict[str, Any],
    batch: dict[str, jax.Array],
    *,
    model: DistanceModel,
    axis_name: str,
    multiplied: bool = False,
) -> tuple[jax.Array, Mean]:
    """features [N, T, 1280], distance [N], mask [N] -> metres [N], and the masked absolute error over all replicas.

    A model with audio also takes heard [N, 1280]; with the sound alone, no features.
    """
    given = {'windows': batch.get('features'), 'heard': batch.get('heard')}
    prediction = model.apply(weights, **given, multiplied=multiplied, method='distance')
    error = absolute_error(prediction, batch['distance'], batch['mask'])
    return prediction, jax.tree.map(lambda x: jax.lax.psum(x, axis_name), error)


def initial_state(
    model: DistanceModel,
    optimizer: optax.GradientTransformation,
    plateau: optax.GradientTransformationExtraArgs,
    seed: int,
    init: Callable[[dict], dict] = lambda variables: variables,
    trained: Callable[[Any], Any] = lambda params: params,
) -> TrainState:
    """Returns a fresh state. `init` may put starting weights into the variables.

    trained: returns the parameters that the optimizer changes; the others have no state there.
    """
    variables = init(fresh_variables(model, seed))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key=jax.random.key_data(jax.random.key(seed)),
        params=variables['params'],
        batch_stats=variables['batch_stats'],
        opt_state=jax.jit(optimizer.init)(trained(variables['params'])),
        plateau=plateau.init({}),
        loss_scale=optim.make_loss_scale() if compute_dtype(model.dtype) == jnp.float16 else None,
    )
