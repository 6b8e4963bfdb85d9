#!/bin/sh
# Chooses the disks; partman/early_command runs it. Without its answer partman asks, and there is nobody to answer:
# nothing is written.
{% include "debian/report.sh" %}
{% include "common/disks.sh" %}
{% if spec.storage.layout.kind == "raid1" %}
debconf-set partman-auto/disk "/dev/$DISK1 /dev/$DISK2"
debconf-set grub-installer/bootdev "/dev/$DISK1 /dev/$DISK2"
{% else %}
debconf-set partman-auto/disk "/dev/$DISK1"
debconf-set grub-installer/bootdev "/dev/$DISK1"
{% endif %}
