{% set os_late = "agama/network.sh" %}
{% include "common/late.sh" %}
