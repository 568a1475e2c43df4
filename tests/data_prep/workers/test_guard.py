import multiprocessing.connection
import os
import signal
import subprocess
import sys
import time

import pytest

from data_prep.workers import guard
from data_prep.workers.guard import GuardedCall, WorkerDied, WorkerError, run_guarded


def behave(task: str):
    """Runs in a worker."""
    if task == 'crash':
        os.kill(os.getpid(), signal.SIGSEGV)
    if task == 'hang':
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        time.sleep(60)
    if task.startswith('killed once'):
        _, marker = task.split(':')
        if not os.path.exists(marker):
            open(marker, 'w').close()
            os.kill(os.getpid(), signal.SIGKILL)
    if task == 'killed':
        os.kill(os.getpid(), signal.SIGKILL)
    if task == 'exit':
        os._exit(7)
    if task == 'raise':
        raise OSError('disk full')
    if task == 'end of file':
        raise EOFError('not the end of the pipe')
    return task, os.getpid()


def run(tasks, n_workers=2, deadline_s=20.0):
    return dict(run_guarded('test_guard:behave', tasks, n_workers, lambda task: deadline_s))


def test_results_come_from_other_processes_that_are_kept():
    results = run([f'task {i}' for i in range(8)])
    assert {task: result[0] for task, result in results.items()} == {task: task for task in results}
    assert len(results) == 8
    workers = {pid for _, pid in results.values()}
    assert len(workers) <= 2 and os.getpid() not in workers


def test_a_crash_costs_its_own_task_only():
    results = run(['a', 'crash', 'b', 'exit', 'c'])
    assert results['crash'] == WorkerDied('its worker process crashed (SIGSEGV), twice', crashed=True)
    assert results['exit'] == WorkerDied('its worker process crashed (exit code 7), twice', crashed=True)
    assert {results[task][0] for task in 'abc'} == set('abc')


def test_a_task_whose_worker_is_killed_runs_once_more_after_the_others(tmp_path):
    task = f'killed once:{tmp_path / "marker"}'
    results = list(run_guarded('test_guard:behave', [task, 'a', 'b', 'killed'], 2, lambda task: 20.0))
    assert [name for name, _ in results[:2]] in (['a', 'b'], ['b', 'a'])
    reason = 'its worker process was killed (SIGKILL), perhaps because memory ran out, twice'
    last = dict(results[2:])
    assert last[task][0] == task and last['killed'] == WorkerDied(reason, crashed=True)


def test_one_call_runs_once_more_if_its_worker_is_killed(tmp_path):
    call = GuardedCall('test_guard:behave')
    task = f'killed once:{tmp_path / "marker"}'
    assert call(task, 20.0)[0] == task
    call.close()


def test_workers_do_not_act_on_the_signals_of_their_parent(tmp_path):
    call = GuardedCall('test_guard:behave')
    first = call('a', 20.0)
    assert os.getpgid(first[1]) == first[1] != os.getpgid(0)  # Ctrl-C reaches a group
    os.kill(first[1], signal.SIGTERM)
    assert call('b', 20.0) == ('b', first[1])
    call.close()


def test_a_hang_ends_at_the_deadline_and_costs_its_own_task_only():
    deadlines_s = {'hang': 1.0}
    results = dict(run_guarded('test_guard:behave', ['a', 'hang', 'b'], 1, lambda t: deadlines_s.get(t, 20)))
    assert results['hang'] == WorkerDied('not finished after 1 s')
    assert (results['a'][0], results['b'][0]) == ('a', 'b')


@pytest.mark.parametrize('fault', ['raise', 'end of file'])
def test_an_exception_is_not_the_fault_of_the_task(fault):
    with pytest.raises(WorkerError, match='disk full|not the end of the pipe') as caught:
        run(['a', fault, 'b'])
    assert '\n' not in str(caught.value) and 'Traceback' not in str(caught.value)
    assert 'Traceback' in caught.value.trace


def test_a_worker_that_cannot_start_or_find_its_function_ends_the_run(monkeypatch):
    with pytest.raises(WorkerError, match='no_such_module'):
        list(run_guarded('no_such_module:f', ['a'], 1, lambda task: 5.0))
    monkeypatch.setattr('sys.executable', '/bin/false')
    with pytest.raises(WorkerError, match='did not start'):
        run(['a'])


def test_a_worker_that_is_dead_before_it_gets_its_task(monkeypatch):
    monkeypatch.setattr('sys.executable', '/bin/false')
    worker = guard._Worker('test_guard:behave')
    worker._process.wait()
    worker.give('a', 5.0)
    with pytest.raises(WorkerError, match='did not start'):
        worker.result()


def test_no_tasks():
    assert run([]) == {}


def test_workers_end_with_the_run():
    results = run_guarded('test_guard:behave', ['a', 'b', 'hang'], 1, lambda task: 60.0)
    _, (_, pid) = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_whose_pipe_is_closed_before_it_starts_says_nothing():
    ours, theirs = multiprocessing.connection.Pipe()
    with theirs:
        ours.close()
        code = f'from data_prep.workers import guard; guard.work({theirs.fileno()})'
        path = os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
        worker = [sys.executable, '-c', code]
        done = subprocess.run(worker, pass_fds=[theirs.fileno()], env=path, capture_output=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, b'')


def test_one_task_at_a_time():
    call = GuardedCall('test_guard:behave')
    first, second = call('a', 20.0), call('b', 20.0)
    assert (first[0], second[0]) == ('a', 'b') and first[1] == second[1]
    assert call('crash', 20.0) == WorkerDied('its worker process crashed (SIGSEGV), twice', crashed=True)
    assert call('c', 20.0)[0] == 'c'
    with pytest.raises(WorkerError, match='disk full'):
        call('raise', 20.0)
    call.close()


def test_a_worker_ends_with_a_parent_that_was_killed(tmp_path):
    code = (
        'import os, signal, time; from data_prep.workers.guard import GuardedCall\n'
        "call = GuardedCall('test_guard:behave'); print(call('a', 60.0)[1], flush=True)\n"
        "call._worker.give('hang', 60.0); time.sleep(0.5); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True)
    worker = int(done.stdout)
    deadline = time.monotonic() + 20
    while os.path.exists(f'/proc/{worker}') if os.path.exists('/proc') else alive(worker):
        assert time.monotonic() < deadline, 'the worker lives on'
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
