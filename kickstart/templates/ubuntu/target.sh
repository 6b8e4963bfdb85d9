{% set os_late = "ubuntu/kernel.sh" %}
{% include "common/late.sh" %}
