{% set os_packages = "cloud/packages.sh" %}
{% set os_late = "common/nothing.sh" %}
{% include "common/late.sh" %}
