#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
#
# The models of docs/model: sound ones are clean, broken ones fail as expected.
exec "$(dirname "$0")/../docs/model/run"
