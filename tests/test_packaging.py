"""What an installation contains, and that the locks match setup.cfg."""

import configparser
import fnmatch
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = {'base': ('test', 'browser', 'pretrained', 'onnx', 's3', 's3_test'), 'tpu': ('test', 'tpu')}
LOCKS['beam'] = ('test', 'beam', 'dask')
LOCKS['bench'] = ('bench', 'pretrained')

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / 'setup.cfg')


def requirements(text: str) -> list[Requirement]:
    lines = (line.split(' #')[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith('#')]


def pins(name: str, python: str) -> dict[str, Requirement]:
    """{package: pin} of a lock, for Linux on x86-64."""
    where = {'python_full_version': f'{python}.0', 'python_version': python}
    where |= {'sys_platform': 'linux', 'platform_machine': 'x86_64'}
    found = requirements((ROOT / 'requirements' / f'{name}.lock').read_text())
    here = [pin for pin in found if not pin.marker or pin.marker.evaluate(where)]
    table = {canonicalize_name(pin.name): pin for pin in here}
    assert len(table) == len(here), 'a package has two pins'
    return table


def packages() -> list[str]:
    return setuptools.find_packages(ROOT, include=SETUP['options.packages.find']['include'].split())


def test_no_general_name_is_installed_at_the_top():
    assert {package.split('.')[0] for package in packages()} == {'chimp_jax', 'data_prep'}


def test_the_configs_are_installed_below_chimp_jax():
    assert 'chimp_jax.configs' in packages()
    assert (ROOT / 'chimp_jax' / 'configs').resolve() == ROOT / 'configs'


def test_every_file_of_a_package_is_installed():
    data = {package: patterns.split() for package, patterns in SETUP['options.package_data'].items()}
    left_out = []
    for path in (path for top in ('chimp_jax', 'data_prep') for path in (ROOT / top).rglob('*')):
        if path.is_dir() or path.suffix == '.pyc':
            continue
        folder = next(parent for parent in path.parents if (parent / '__init__.py').exists())
        inside = path.relative_to(folder).as_posix()
        patterns = data.get('.'.join(folder.relative_to(ROOT).parts), [])
        is_module = path.suffix == '.py' and path.parent == folder
        if not is_module and not any(fnmatch.fnmatch(inside, pattern) for pattern in patterns):
            left_out.append(str(path))
    assert not left_out


@pytest.mark.parametrize('python', ('3.11', '3.13'))
@pytest.mark.parametrize('name', LOCKS)
def test_locks_pin_what_setup_requires(name, python):
    wanted = requirements(SETUP['options']['install_requires'])
    for extra in LOCKS[name]:
        wanted += requirements(SETUP['options.extras_require'][extra])
    pinned = pins(name, python)
    where = {'sys_platform': 'linux', 'platform_machine': 'x86_64', 'python_version': python}
    for requirement in wanted:
        if requirement.marker and not requirement.marker.evaluate(where):
            continue
        (pin,) = pinned[canonicalize_name(requirement.name)].specifier
        assert requirement.specifier.contains(pin.version), requirement


@pytest.mark.parametrize('python', ('3.11', '3.13'))
def test_the_field_lock_is_the_base_without_tensorflow(python):
    """What requirements/field.overrides names, and what TensorFlow alone brings; the commands run without it."""
    left_out = {
        canonicalize_name(one.name) for one in requirements((ROOT / 'requirements/field.overrides').read_text())
    }
    field, base = pins('field', python), pins('base', python)
    assert {'tensorflow', 'tensorflow-cpu', 'tensorflow-datasets'} <= left_out
    assert not field.keys() & (left_out | {'keras', 'grpcio', 'array-record'})
    assert {name: pin.specifier for name, pin in field.items()} == {name: base[name].specifier for name in field}
    wanted = {canonicalize_name(one.name) for one in requirements(SETUP['options']['install_requires'])}
    assert wanted - left_out <= field.keys()


def test_each_python_has_the_newest_jax_that_it_can_run():
    """jax 0.11 and later require Python 3.12."""
    oldest, newest = pins('base', '3.11')['jax'], pins('base', '3.13')['jax']
    assert oldest.specifier.contains('0.10.2')
    assert not newest.specifier.contains('0.10.2')
