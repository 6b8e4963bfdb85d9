#!/bin/sh
{% include "common/suse-late.sh" %}
