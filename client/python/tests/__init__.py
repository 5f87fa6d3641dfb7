# SPDX-License-Identifier: Apache-2.0
"""Tests of the Python client. They need a host: CODE_MODE_HOST, or one that the client finds."""
