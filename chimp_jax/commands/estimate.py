"""Distances for all clips of a folder, ready for distance sampling:

    chimp-distance estimate CLIPS --members RUNS --out DIR
    chimp-distance estimate CLIPS --detect --calibrate KNOWN.csv --out DIR

The first command predicts with trained members. The second has none: a detector finds the animals, and the distance of
a box follows from its foot point on the ground of the station, which the known distances calibrate. With --members,
--detect and --calibrate the two are combined.

The targets are all seconds of all clips, or every Nth second (--every N), or the seconds with an animal (--detect or
--detections), or the seconds of a table (--targets). DIR gets distances.csv, clips.csv (a row for every clip, readable
or not), summary.json and the files of --format; with boxes also tracks.csv, and with distances from the ground
boxes.csv and stations.json. A table of more than 1,000,000 rows is a folder of parquet files, such as DIR/distances,
in place of a CSV file. Run the same command again to resume after an interruption. With other flags it computes only
what they change. If you write distances into DIR/corrections.csv (video_id,time,distance and, if a second has several
animals, animal), they replace the estimates on the next run.
"""

import argparse
import logging

from etils import epath

from chimp_jax.commands.arguments import limit_memory
from chimp_jax.commands.estimating.distances import estimate_distances
from chimp_jax.commands.estimating.flags import EstimateRequest, add_estimate_flags
from chimp_jax.commands.estimating.ground import find_ground, looked_targets
from chimp_jax.commands.estimating.inputs import Trained, read_inputs
from chimp_jax.commands.estimating.leftovers import remove_leftovers
from chimp_jax.commands.estimating.looking import look_at_backgrounds, look_for_animals
from chimp_jax.commands.estimating.results import write_results
from chimp_jax.commands.estimating.targets import find_moments, plan_targets
from chimp_jax.engines.counting import Counts
from chimp_jax.engines.engine import LOCAL, Engine, EngineJob, choose_engine, run_pieces
from chimp_jax.field.summary import exit_code, result_lines
from chimp_jax.members import Member
from chimp_jax.panel import Panel
from chimp_jax.streamed import clip_stream
from chimp_jax.streamed.saved import SavedStream, find_answered
from data_prep.files import removed_text
from data_prep.lock import hold
from data_prep.progress import Progress
from data_prep.workers.clip_record import ClipTask

log = logging.getLogger(__name__)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance estimate', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_estimate_flags(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Parse, check, look, plan, predict, estimate, write, tell."""
    request = EstimateRequest(**vars(options))
    limit_memory(request.memory, on_one_machine=request.runner == LOCAL and not request.multihost)
    engine = choose_engine(request.runner, request.runner_options, request.multihost)
    inputs = read_inputs(request)
    with hold(request.out):
        looks = look_for_animals(request, inputs) if request.detect else {}
        plan, tasks, followed = plan_targets(request, inputs)
        snapshots = find_moments(request, inputs, plan)
        ground = None
        if request.uses_ground:
            looks = looks or look_at_backgrounds(request, inputs, plan)
            ground = find_ground(request, inputs, plan, looks, followed)
        if inputs.trained is None:
            streamed, device = looked_targets(plan, looks, ground), None
        else:
            streamed, device = predict_targets(request, inputs.trained, tasks, engine)
        estimating = estimate_distances(request, inputs, streamed, plan, tasks, ground)
        found = write_results(request, inputs, plan, looks, followed, ground, streamed, device, estimating, snapshots)
        n_removed = remove_leftovers(request.out, tasks, inputs.trained.members if inputs.trained else ())
    print('\n'.join(result_lines(found.summary, found.clips, request.out)) + removed_text(n_removed))
    return exit_code(found.counts, found.clips, found.summary)


def predict_targets(
    request: EstimateRequest, trained: Trained, tasks: list[ClipTask], engine: Engine | None
) -> tuple[SavedStream, str]:
    """Returns the members' predictions, and the devices that made them."""
    log.debug('\n'.join(trained.combined.describe()))
    work = epath.Path(request.out) / 'work'
    if engine is not None:
        return _predict_on_engine(request, trained.members, tasks, work, engine), engine.name
    panel = Panel()
    device = f'{len(panel.devices)} x {panel.devices[0].device_kind}'
    log.debug('%d members on %s, %d clips', len(trained.members), device, len(tasks))
    progress = Progress('', len(tasks), work=len(tasks) * len(trained.members))
    streamed = clip_stream.stream_clips(tasks, trained.members, work, panel, request.workers, progress, request.retry)
    return streamed, device


def _predict_on_engine(
    request: EstimateRequest, members: list[Member], tasks: list[ClipTask], work: epath.Path, engine: Engine
) -> SavedStream:
    """Returns the members' predictions, made on several machines. Raises as run_pieces."""
    from chimp_jax.engines import answering

    due = find_answered(tasks, members, work).due(request.retry)
    about = answering.AboutMembers.of(request.members, members, request.compile_cache)
    job = EngineJob(
        what='batches of clips',
        function=answering.ANSWER_CLIPS,
        content=answering.AboutClips(about, str(work), request.workers),
        folder=work,
        find_pending=lambda: clip_stream.plan_batches(tasks, members, find_answered(tasks, members, work), due),
        counts=Counts(
            unit='clips',
            total=len(tasks),
            size=lambda batch: (len(batch.tasks), len(batch.tasks) * len(batch.members)),
            finished=lambda batches: clip_stream.find_finished(batches, members, work),
        ),
    )
    run_pieces(engine, job)
    return SavedStream(find_answered(tasks, members, work), members, work)
