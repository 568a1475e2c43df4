import os
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, time
from data_prep.workers import stopping

def orderly():
    try:
        print('ready', flush=True)
        time.sleep(600)
    finally:
        print('tidied', flush=True)

def stuck():  # the interruption has no effect
    stopping.GRACE_S = 0.2
    print('ready', flush=True)
    while True:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            pass

def swallowed():
    class Closes:
        def __del__(self):
            time.sleep(600)

    stopping.GRACE_S = 0.2
    closes = Closes()
    print('ready', flush=True)
    del closes
    time.sleep(600)

def changed():
    try:
        print('ready', flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        raise ValueError('a library made another error of it')

def normal():
    print('ready', flush=True)
    return 3

def failing():
    print('ready', flush=True)
    raise SystemExit('train.py: no such file')

if sys.argv[1] == 'loading':
    stopping.while_loading('job')
    orderly()
sys.exit(stopping.run('job', globals()[sys.argv[1]]))
"""


def start(behaviour: str) -> subprocess.Popen:
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, '-c', PROGRAM, behaviour]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'ready\n'
    return process


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ('behaviour', 'printed'),
    [('orderly', 'tidied\n'), ('loading', ''), ('stuck', ''), ('swallowed', ''), ('changed', '')],
)
def test_a_signal_ends_a_command_with_one_line(behaviour, printed, number, code):
    process = start(behaviour)
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    assert (out, err) == (printed, 'job: interrupted; run the same command again to resume\n')
    assert process.returncode == code


@pytest.mark.parametrize(
    ('behaviour', 'message', 'code'), [('normal', '', 3), ('failing', 'train.py: no such file\n', 1)]
)
def test_without_a_signal_a_command_ends_as_it_does(behaviour, message, code):
    process = start(behaviour)
    assert process.communicate(timeout=600)[1] == message
    assert process.returncode == code
