LOGS="/var/log/installer/subiquity-server-debug.log"
{% include "common/report.sh" %}
tell {{ stage.pre }}
{% include "common/early.sh" %}
{% include "common/disks.sh" %}
# Subiquity reads its answers again after this. The names that stand there are of no disk: without this, nothing is written.
sed -i "s|^\( *path: \)[\"']\{0,1\}/dev/gleaner/disk1[\"']\{0,1\}\$|\1/dev/$DISK1|" /autoinstall.yaml
{% if spec.storage.layout.kind == "raid1" %}
sed -i "s|^\( *path: \)[\"']\{0,1\}/dev/gleaner/disk2[\"']\{0,1\}\$|\1/dev/$DISK2|" /autoinstall.yaml
{% endif %}
tell {{ stage.partitioning }}
