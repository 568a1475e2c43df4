"""Makes the package `configs` known by this name, by which config files import it.

An installation has the package as chimp_jax.configs.
"""

import importlib.util
import sys

from chimp_jax import configs

if importlib.util.find_spec('configs') is None:
    sys.modules['configs'] = configs
