{% include "common/suse-late.sh" %}
