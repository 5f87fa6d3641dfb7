#!/bin/bash
# Runs a test in Python: its file, then its arguments.
exec /usr/bin/python3 -B "$@"
