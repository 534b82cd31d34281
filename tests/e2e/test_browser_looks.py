# SPDX-License-Identifier: Apache-2.0
"""Every page a person sees on the way, in light and dark, on a desk and on a telephone: all is there and legible.

SMARTKEY_SCREENSHOTS=DIR keeps pictures of them.
"""

import os
import unittest

from browser_story import FINAL_PAGE, BrowserTest

# For each element with text of its own: its words, and the contrast with what is behind it (WCAG 2.1, 1.4.3).
_CONTRASTS = """
(() => {
  const channels = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255)
      .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
      .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = channels(getComputedStyle(e).backgroundColor);
      if (colour.length == 3 || colour[3] > 0) return colour;
    }
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    return dark ? [18, 18, 18] : [255, 255, 255];
  };
  const out = {};
  for (const element of document.body.querySelectorAll("*")) {
    const words = [...element.childNodes].filter(n => n.nodeType == 3).map(n => n.data.trim()).join(" ").trim();
    if (!words) continue;
    const pair = [luminance(channels(getComputedStyle(element).color)), luminance(behind(element))];
    out[words] = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  }
  return out;
})()
"""
_BACKGROUND = "getComputedStyle(document.body).backgroundColor"
_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


class Looks(BrowserTest):
    def assert_looks_right(self, name):
        backgrounds = {}
        for width, height in ((1000, 900), (360, 740)):
            self.browser.resize(width, height)
            for scheme in ("light", "dark"):
                self.browser.prefer(scheme)
                with self.subTest(page=name, scheme=scheme, width=width):
                    self.keep_picture(f"{name}-{scheme}-{width}.png")
                    contrasts = self.browser.evaluate(_CONTRASTS)
                    self.assertGreaterEqual(len(contrasts), 2, contrasts)
                    faint = {words: round(value, 2) for words, value in contrasts.items() if value < 4.5}
                    self.assertEqual(faint, {})
                    self.assertEqual(self.browser.evaluate(_OVERFLOW), 0)
                    backgrounds[scheme] = self.browser.evaluate(_BACKGROUND)
        self.assertNotEqual(backgrounds["light"], backgrounds["dark"])

    def keep_picture(self, name):
        if "SMARTKEY_SCREENSHOTS" in os.environ:
            self.browser.screenshot(os.path.join(os.environ["SMARTKEY_SCREENSHOTS"], name))

    def test_EveryPageIsLegibleInLightAndDarkAndFitsATelephone(self):
        with self.enrolling() as enrolling:
            self.browser.open(enrolling.url)
            self.browser.wait_for_title("Sign in")
            self.assert_looks_right("login")
            self.browser.fill_in("username", "alice")
            self.browser.fill_in("password", "wrong")
            self.browser.press("Sign in")
            self.browser.wait_for_title("Sign in")
            self.assertIn("not right", self.browser.text)
            self.assert_looks_right("login-refused")
            self.log_in(enrolling.url)
            self.assert_looks_right("patient")
            self.browser.press("Continue")
            self.browser.wait_for_title("Allow")
            self.assert_looks_right("consent")
            self.browser.press("Allow")
            self.browser.wait_for_title(FINAL_PAGE)
            self.assert_looks_right("final")
            self.assert_enrolled(enrolling)
        self.browser.open(self.stack.ready["authorization_endpoint"])
        self.assert_looks_right("failure")


if __name__ == "__main__":
    unittest.main()
