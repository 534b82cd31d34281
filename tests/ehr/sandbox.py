#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Starts the sandbox EHR: see README.md here, or `sandbox.py --help`."""

from ehr_sandbox.__main__ import main

if __name__ == "__main__":
    main()
