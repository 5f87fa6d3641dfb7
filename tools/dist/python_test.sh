#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs a test in Python: its file, then its arguments.
exec /usr/bin/python3 -B "$@"
