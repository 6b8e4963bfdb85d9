# At the first start only, though cloud-init runs this at every one.
[ ! -e /var/lib/gleaner-early ] || exit 0
LOGS=/var/log/cloud-init.log
{% include "common/report.sh" %}
tell {{ stage.pre }}
{% include "common/early.sh" %}
: >/var/lib/gleaner-early
