"""Compiles as the commands do: the tests' own flags (conftest.py) compile faster, and round differently."""

import functools

import jax

as_in_use = functools.partial(
    jax.jit, compiler_options={'xla_backend_optimization_level': 3, 'xla_cpu_use_fusion_emitters': True}
)
