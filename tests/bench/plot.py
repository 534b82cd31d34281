#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what `scripts/bench --record DIR` has written: a box for the ratios of each benchmark's rounds.

Usage: plot.py FILE SVG [WHAT]        WHAT has the ratios; default: signatures per second. It wants matplotlib (Debian: python3-matplotlib); nothing else in the project does
"""

import json
import statistics
import sys

import matplotlib

matplotlib.use("svg")
# The same bits for the same numbers: no date, no random ids.
matplotlib.rcParams["svg.hashsalt"] = "smartkeyd"
import matplotlib.pyplot as plt  # noqa: E402, the backend comes first


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        record = json.load(file)
    names = [name for name in record]
    ratios = [[ours / bare for ours, bare in zip(record[name]["ours"], record[name]["bare"])] for name in names]
    figure, axes = plt.subplots(figsize=(9, 0.6 * len(names) + 1.4))
    places = list(range(len(names), 0, -1))
    axes.boxplot(ratios, positions=places, vert=False, widths=0.5, whis=(5, 95), showfliers=False,
                 medianprops={"color": "black"})
    for place, name, values in zip(places, names, ratios):
        axes.plot(values, [place] * len(values), ".", color="tab:blue", alpha=0.35, markersize=4)
        target = record[name]["target"]
        if target:
            axes.plot([target, target], [place - 0.4, place + 0.4], color="tab:red", linewidth=2)
        axes.annotate(f"{statistics.median(values):.2f}", (statistics.median(values), place + 0.3), ha="center",
                      fontsize=8)
    axes.set_yticks(places, names)
    axes.axvline(1, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlim(left=0)
    what = sys.argv[3] if len(sys.argv) > 3 else "signatures per second"
    axes.set_xlabel(f"{what}, ours / bare: every round, quartiles, 5 to 95 %; red: target")
    figure.tight_layout()
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
