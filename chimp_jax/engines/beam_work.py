"""The function of Beam's workers, in its own module because workers import it and it imports Beam."""

import apache_beam as beam

from chimp_jax.engines.worker import Work, do_pieces


class DoPiece(beam.DoFn):
    """Does each (Work, pickled piece). The process keeps the members and the compiled programs between pieces."""

    def process(self, pair: tuple[Work, bytes]):
        work, piece = pair
        do_pieces(work, [piece])
