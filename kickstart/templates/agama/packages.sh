#!/bin/sh
LOGS=
{% include "common/report.sh" %}
tell {{ stage.packages }}
