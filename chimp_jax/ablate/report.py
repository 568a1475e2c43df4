"""The result of an ablation: ablation.csv, ablation.html (one file without a network), and a line for each variant."""

import importlib.resources

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from chimp_jax.ablate import comparison
from chimp_jax.ablate.forest import draw_forest
from chimp_jax.ablate.study import BASE, Study, parts_text
from chimp_jax.ensemble.paired import BETTER, UNCLEAR, WORSE
from data_prep.files import read_json, write_whole

TABLE, PAGE = 'ablation.csv', 'ablation.html'


def write_result(study: Study) -> tuple[list[str], bool]:
    """Writes the table and the page of all finished variants. Returns lines for the screen, and whether all are there.

    Raises ValueError if the base is not finished: then there is nothing to compare with.
    """
    if study.left(BASE):
        raise ValueError(
            f'the base has {parts_text(study.left(BASE))} left, so nothing can be compared; run the command again'
        )
    done = [name for name in study.names() if not study.left(name)]
    unfinished = [f'{name} {_why(study, name)}' for name in study.names() if name not in done]
    scored = {name: comparison.read_scored(study, name) for name in done}
    site = comparison.sites_of(study, scored[BASE].labels)
    costs = {name: comparison.read_costs(study, name) for name in done}
    table, refused = comparison.comparison_table(scored, site, costs)
    unfinished += [f'{name} cannot be compared: {reason}' for name, reason in refused.items()]
    study.workdir.mkdir(parents=True, exist_ok=True)
    write_whole(study.workdir / TABLE, table.to_csv(index=False, float_format='%.6g'))
    write_whole(study.workdir / PAGE, render_ablation(study, table, unfinished))
    whole = table[table['band'] == comparison.ALL]
    base_m = float(whole.loc[whole['variant'] == BASE, 'mae_m'].iloc[0])
    questions = {name: study.variant(name).question for name in study.names()}
    lines = [comparison.variant_line(row, base_m, questions[row.variant]) for row in _rows(whole)]
    lines += [f'not in this result: {line}' for line in unfinished]
    return [*lines, f'{study.workdir / TABLE} and {study.workdir / PAGE} hold the errors by distance'], not unfinished


def _why(study: Study, name: str) -> str:
    return study.obstacle(name) or f'has {parts_text(study.left(name))} left; run the command again'


def render_ablation(study: Study, table: pd.DataFrame, unfinished: list[str]) -> str:
    """Returns the page. table: with comparison.COLUMNS. unfinished: a line for each variant that is missing."""
    rows = list(_rows(table))
    variants = [row for row in rows if row.band == comparison.ALL]
    differences = [row for row in variants if row.variant != BASE]
    base, data = variants[0], study.base.data
    return _template().render(
        recipe=study.base.recipe,
        folds=data.folds,
        n_folds=data.n_folds,
        n_seeds=study.n_seeds,
        n_rows=base.rows,
        n_sites=base.sites,
        base=base,
        variants=variants,
        n={verdict: sum(row.verdict == verdict for row in differences) for verdict in (BETTER, WORSE, UNCLEAR)},
        questions={name: study.variant(name).question for name in study.names()},
        bands=[row for row in rows if row.variant == BASE and row.band != comparison.ALL],
        cells={(row.variant, row.band): row for row in rows},
        unfinished=unfinished,
        simulated=_is_simulated(study),
        wide=draw_forest(differences, 760, 150, 'wide'),
        narrow=draw_forest(differences, 360, 110, 'narrow'),
        css=Markup(_file('chimp_jax.field.page', 'page.css')),
    )


def _rows(table: pd.DataFrame):
    """Yields the rows with '' for missing texts."""
    return table.fillna({'verdict': '', 'note': ''}).itertuples(index=False)


def _is_simulated(study: Study) -> bool:
    markers = study.folders(BASE)[0].glob('fold_*/member.json')
    return any((read_json(marker) or {}).get('simulated') is True for marker in markers)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters['metres'] = lambda value: '–' if np.isnan(value) else f'{value:.2f}'
    environment.filters['signed'] = lambda value: '–' if np.isnan(value) else f'{value:+.2f}'.replace('-', '−')
    environment.filters['whole'] = lambda value: '–' if np.isnan(value) else f'{value:.0f}'
    return environment.from_string(_file('chimp_jax.ablate', 'page.html'))


def _file(package: str, name: str) -> str:
    return importlib.resources.files(package).joinpath(name).read_text('utf-8')
