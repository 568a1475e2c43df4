"""Chromium for tests of a page: `make test-browser`. A module that imports this one is skipped elsewhere."""

import os
import shutil
import time
from pathlib import Path

import pytest

if 'CHIMP_JAX_BROWSER' not in os.environ:
    pytest.skip('make test-browser runs the tests in a browser', allow_module_level=True)
webdriver = pytest.importorskip('selenium.webdriver', reason='selenium is missing; install the extra browser')
from selenium.webdriver.common.by import By  # noqa: E402

CHROMIUM, DRIVER = (shutil.which(name) for name in ('chromium', 'chromedriver'))
if not (CHROMIUM and DRIVER):
    pytest.skip('Chromium or its driver is missing (Debian: chromium, chromium-driver)', allow_module_level=True)

LONGEST_S = 120  # for a reply; the machine may be busy
PICTURES = os.environ.get('CHIMP_JAX_SCREENSHOTS')  # a folder


class Browser:
    def __init__(self, width, height, dark=False):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in ('headless=new', 'no-sandbox', 'disable-gpu', 'disable-dev-shm-usage', 'hide-scrollbars'):
            options.add_argument(f'--{flag}')
        options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        size = {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': width < 600}
        self.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', size)
        if width < 600:
            self.driver.execute_cdp_cmd('Emulation.setTouchEmulationEnabled', {'enabled': True})
        scheme = [{'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}]
        self.driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': scheme})

    def open(self, address):
        self.driver.get(address)
        self.ready()

    def press(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    def text(self, name):
        return self.driver.find_element(By.ID, name).text

    def run(self, script):
        return self.driver.execute_script(f'return {script}')

    def until(self, holds, what):
        end = time.monotonic() + LONGEST_S
        while time.monotonic() < end:
            if holds():
                return
            time.sleep(0.05)
        raise AssertionError(f'{what}; the page says {self.text("status")!r}')

    def says(self, words):
        self.until(lambda: words in self.text('status'), f'no {words!r}')

    def ready(self):
        """The picture is there."""
        loaded = "document.getElementById('second').textContent && !document.querySelector('.loading')"
        self.until(lambda: self.run(f'!!({loaded})'), 'no picture')

    def save(self, name):
        if PICTURES:
            Path(PICTURES).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(f'{PICTURES}/{name}.png')

    def complaints(self):
        return [entry['message'] for entry in self.driver.get_log('browser') if entry['level'] in ('SEVERE', 'WARNING')]
