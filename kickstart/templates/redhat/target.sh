{% set os_late = "common/networkmanager.sh" %}
{% include "common/late.sh" %}
