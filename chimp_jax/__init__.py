"""chimp_jax: distances from camera-trap clips, a JAX/Flax research codebase."""
