{% set os_late = "debian/network.sh" %}
{% include "common/late.sh" %}
