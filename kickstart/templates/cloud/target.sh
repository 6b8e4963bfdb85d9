{% set os_late = "common/nothing.sh" %}
{% include "common/late.sh" %}
