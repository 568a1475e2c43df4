"""Work on many machines with Apache Beam (extra `beam`), which is imported only if it is used."""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence

from data_prep.workers import guard
from data_prep.workers.clip_record import ClipTask

# Runners that Beam knows by their place alone.
_PLACES = {'daskrunner': 'apache_beam.runners.dask.dask_runner.DaskRunner'}
_STARTS_WORKER = 'run_worker'  # the thread of DirectRunner that starts a worker process and waits for its end
_WORKER = 'apache_beam.runners.worker.sdk_worker_main'


def pipeline_options(runner: str, flags: Sequence[str]):
    """Returns Beam's options of a runner. Raises ValueError if Beam is missing, or the runner or a flag is unknown."""
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners.runner import create_runner
    except ImportError:
        raise ValueError(f'--runner={runner} requires Apache Beam: pip install chimp_jax[beam]') from None
    place = _PLACES.get(runner.lower(), runner)
    try:
        create_runner(place)
    except (ImportError, AttributeError):  # DaskRunner's module fails without Dask
        raise ValueError(
            f"--runner={runner} requires more packages: pip install 'chimp_jax[dask]' for DaskRunner, "
            "'apache-beam[gcp]' for DataflowRunner"
        ) from None
    options = PipelineOptions([f'--runner={place}', *flags])
    known = set().union(*map(_flag_names, PipelineOptions.__subclasses__()))
    unknown = [flag for flag in flags if flag.startswith('--') and _name(flag) not in known]
    if unknown:
        raise ValueError(f'unknown options: {" ".join(unknown)}; see --help and the options of Apache Beam')
    return options


def store_clips_by_beam(tasks: Sequence[ClipTask], frames: str, options, lost_runs: Mapping[str, int]) -> None:
    """Decodes clips into the frame store with Beam.

    frames: folder of the frame store, which all machines must reach. options: from `pipeline_options`.
    lost_runs: as of local.store_clips.
    """
    from data_prep.workers.beam_clips import StoreClip

    for_each([(frames, task, lost_runs.get(task.video_id, 0)) for task in tasks], StoreClip(), options)


def for_each(items: Sequence, function, options) -> None:
    """Runs a beam.DoFn for each item, on all workers. options: from `pipeline_options`.

    Raises what Beam raises, and WorkerError if a worker process of DirectRunner dies: Beam would wait for it for ever.
    """
    import apache_beam as beam

    if not items:
        return
    logging.getLogger('apache_beam').setLevel(logging.CRITICAL)  # its errors are raised too

    def run() -> None:
        with beam.Pipeline(options=options) as pipeline:
            # Reshuffle spreads the items of one bundle over the machines.
            _ = pipeline | beam.Create(items) | beam.Reshuffle() | beam.ParDo(function)

    _run_watched(run)


def _run_watched(run: Callable[[], None]) -> None:
    """Runs a pipeline in a thread of its own, and ends it if a worker process of this machine dies."""
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run_and_tell() -> None:
        try:
            run()
            ended.put(None)
        except BaseException as error:
            ended.put(error)

    def notice(failed: threading.ExceptHookArgs) -> None:
        if failed.thread is not None and failed.thread.name == _STARTS_WORKER:
            ended.put(guard.WorkerError(f'a worker process died ({failed.exc_value})'))
        elif not type(failed.exc_value).__module__.startswith('grpc'):  # the other end of a dead worker's connection
            usual(failed)

    usual, threading.excepthook = threading.excepthook, notice
    threading.Thread(target=run_and_tell, daemon=True).start()
    failure = ended.get()
    if isinstance(failure, guard.WorkerError):
        _end_workers()  # their ends are noticed later and told to nobody
    else:
        threading.excepthook = usual
    if failure is not None:
        raise failure


def _end_workers() -> None:
    """Ends the workers that are left of a pipeline on this machine: they would work beside the next one."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if _WORKER in ' '.join(process.cmdline()):
                process.kill()


def _flag_names(options) -> set[str]:
    """Returns the names of the flags of a subclass of PipelineOptions. A flag may end in a field of another name."""
    found = set(options([]).get_all_options(current_only=True))

    class Names:
        def add_argument(self, *flags, **_) -> None:
            found.update(flag.lstrip('-') for flag in flags)

        add_value_provider_argument = add_argument

        def add_mutually_exclusive_group(self, **_) -> 'Names':
            return self

        add_argument_group = add_mutually_exclusive_group

    options._add_argparse_args(Names())
    return found


def _name(flag: str) -> str:
    name = flag.removeprefix('--').partition('=')[0]
    return name.removeprefix('no_')
