# SPDX-License-Identifier: Apache-2.0
"""A person's browser: Debian's Chromium without a window, run as that person, steered through ChromeDriver."""

import os
import re
import signal
import subprocess
import time

from selenium.webdriver import ChromeOptions, Remote
from selenium.webdriver.chromium.remote_connection import ChromiumRemoteConnection
from selenium.webdriver.common.by import By

from stack import ALICE, PATIENCE, Failed, wait_for

# The sandbox's processes need rights that containers do not give. The rest: no word to the outside.
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
          "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
          "--disable-default-apps", "--disable-extensions", "--window-size=1000,900")


class Chromium:
    """Pages are addressed by what a person sees: fields by name, buttons by their words.

    `only`, as "host:port", is all that it can reach: a browser on another machine.
    """

    def __init__(self, stack, user=ALICE, javascript=True, only=None):
        self._home = stack.make_user_dir(f"browser-{time.monotonic_ns()}", user)
        self._driver_process = stack.spawn(
            user, ["/usr/bin/chromedriver", "--port=0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True, env={"HOME": self._home})
        self._page = None
        try:
            port = self._read_port()
            options = ChromeOptions()
            options.binary_location = "/usr/bin/chromium"
            # Nobody is at the proxy's port.
            way = ["--proxy-server=http://127.0.0.1:9", f"--proxy-bypass-list=<-loopback>;{only}"] if only \
                else ["--no-proxy-server"]
            for flag in (*_FLAGS, *way, f"--user-data-dir={self._home}/profile"):
                options.add_argument(flag)
            if not javascript:
                options.add_experimental_option(
                    "prefs", {"profile.managed_default_content_settings.javascript": 2})
            connection = ChromiumRemoteConnection(f"http://127.0.0.1:{port}", "goog", "chrome", ignore_proxy=True)
            self._page = Remote(command_executor=connection, options=options)
            self._page.set_page_load_timeout(PATIENCE)
        except BaseException:
            self.close()
            raise

    def _read_port(self):
        for line in self._driver_process.stdout:
            found = re.search(r"successfully on port (\d+)", line)
            if found:
                return int(found.group(1))
        raise Failed("chromedriver said no port")

    def close(self):
        try:
            if self._page is not None:
                self._page.quit()
        finally:
            # Whatever it has started is in a session of its own.
            os.killpg(self._driver_process.pid, signal.SIGKILL)
            self._driver_process.wait()
            self._driver_process.stdout.close()

    def forget(self):
        """The page, where it has been, and cookies."""
        self._page.get("about:blank")
        self.command("Page.resetNavigationHistory")
        self.command("Network.clearBrowserCookies")

    def history(self):
        """The addresses that the person could go back to, and the one that is shown."""
        return [entry["url"] for entry in self.command("Page.getNavigationHistory")["entries"]]

    def command(self, name, **parameters):
        """Of the DevTools protocol."""
        return self._page.execute("executeCdpCommand", {"cmd": name, "params": parameters})["value"]

    def prefer(self, scheme):
        """\"light\" or \"dark\"."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def resize(self, width, height):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                     mobile=False)

    def open(self, url):
        self._page.get(url)

    @property
    def url(self):
        return self._page.current_url

    @property
    def title(self):
        return self._page.title

    @property
    def source(self):
        return self._page.page_source

    @property
    def text(self):
        return self._page.find_element(By.TAG_NAME, "body").text

    def screenshot(self, path):
        self._page.save_screenshot(path)

    def evaluate(self, expression):
        """Works without the page's JavaScript too: it is the browser that is asked."""
        result = self.command("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise Failed(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def wait_for_title(self, title):
        wait_for(lambda: self.title.startswith(title), f"the page {title!r}, in the browser")

    def fill_in(self, name, value):
        self._page.find_element(By.NAME, name).send_keys(value)

    def choose(self, value):
        """A radio button or a check box."""
        self._page.find_element(By.CSS_SELECTOR, f"input[value='{value}']").click()

    def press(self, words):
        self._page.find_element(By.XPATH, f"//button[normalize-space()='{words}']").click()
