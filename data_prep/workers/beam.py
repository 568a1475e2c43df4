"""The slow first stage on many machines with Apache Beam (extra `beam`), which is imported only if it is used."""

from collections.abc import Sequence

from data_prep.workers.clip_record import ClipTask


def pipeline_options(runner: str, flags: Sequence[str]):
    """Returns Beam's options of a runner. Raises ValueError if Beam is missing, or the runner or a flag is unknown."""
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners.runner import create_runner
    except ImportError:
        raise ValueError(f'--runner={runner} requires Apache Beam: pip install chimp_jax[beam]') from None
    create_runner(runner)
    options = PipelineOptions([f'--runner={runner}', *flags])
    known = {name for one in PipelineOptions.__subclasses__() for name in one([]).get_all_options(current_only=True)}
    unknown = [flag for flag in flags if flag.startswith('--') and _name(flag) not in known]
    if unknown:
        raise ValueError(f'unknown options: {" ".join(unknown)}; see --help and the options of Apache Beam')
    return options


def store_clips_by_beam(tasks: Sequence[ClipTask], frames: str, options) -> None:
    """Decodes clips into the frame store with Beam.

    frames: folder of the frame store, which all machines must reach. options: from `pipeline_options`.
    """
    import apache_beam as beam

    from data_prep.workers.beam_clips import StoreClip

    if not tasks:
        return
    with beam.Pipeline(options=options) as pipeline:
        pairs = pipeline | beam.Create([(frames, task) for task in tasks])
        # Reshuffle spreads the clips of one bundle over the machines.
        _ = pairs | beam.Reshuffle() | beam.ParDo(StoreClip())


def _name(flag: str) -> str:
    name = flag.removeprefix('--').partition('=')[0]
    return name.removeprefix('no_')
