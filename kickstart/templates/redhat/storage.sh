{% set kind = spec.storage.layout.kind %}
{% set swap = spec.storage.swap.plain if spec.storage.swap.plain is defined else spec.storage.swap.encrypted if spec.storage.swap.encrypted is defined else 0 %}
# The commands that name disks, now that it is known which.
{% if kind == "raid1" %}
cat >/tmp/gleaner-storage.ks <<END
ignoredisk --only-use=$DISK1,$DISK2
clearpart --all --initlabel --disklabel=gpt --drives=$DISK1,$DISK2
{% else %}
cat >/tmp/gleaner-storage.ks <<END
ignoredisk --only-use=$DISK1
clearpart --all --initlabel --disklabel=gpt --drives=$DISK1
{% endif %}
bootloader --location=mbr --boot-drive=$DISK1{% if spec.kernel_arguments %} --append="{% for argument in spec.kernel_arguments %}{{ argument }}{% if not loop.last %} {% endif %}{% endfor %}"{% endif %}

{% if kind == "raid1" %}
{% for disk in [1, 2] %}
{% if spec.firmware == "uefi" %}
part {{ "raid." ~ disk ~ "1" }} --size=512 --ondisk=$DISK{{ disk }}
{% else %}
part biosboot --fstype=biosboot --size=1 --ondisk=$DISK{{ disk }}
{% endif %}
part {{ "raid." ~ disk ~ "2" }} --size=4000 --grow --ondisk=$DISK{{ disk }}
{% if swap %}
part {{ "raid." ~ disk ~ "3" }} --size={{ swap * 1000 }} --ondisk=$DISK{{ disk }}
{% endif %}
{% endfor %}
{% if spec.firmware == "uefi" %}
raid /boot/efi --level=1 --device=boot_efi --fstype=efi raid.11 raid.21
{% endif %}
raid / --level=1 --device=root --fstype=ext4 raid.12 raid.22
{% if swap %}
raid swap --level=1 --device=swap --fstype=swap raid.13 raid.23
{% endif %}
{% else %}
{% if spec.firmware == "uefi" %}
part /boot/efi --fstype=efi --size=512 --ondisk=$DISK1
{% else %}
part biosboot --fstype=biosboot --size=1 --ondisk=$DISK1
{% endif %}
{% if kind == "lvm" %}
part /boot --fstype=ext4 --size=1024 --ondisk=$DISK1
part pv.1 --size=4000 --grow --ondisk=$DISK1
volgroup system pv.1
{% if swap %}
logvol swap --vgname=system --name=swap --size={{ swap * 1000 }}
{% endif %}
logvol / --vgname=system --name=root --fstype=ext4 --size=4000 --grow
{% else %}
{% if swap %}
part swap --fstype=swap --size={{ swap * 1000 }} --ondisk=$DISK1
{% endif %}
{% if kind == "data-partition" %}
part / --fstype=ext4 --size={{ spec.storage.layout.root_gb * 1000 }} --ondisk=$DISK1
part {{ spec.storage.layout.mount }} --fstype=ext4 --size=1000 --grow --ondisk=$DISK1
{% else %}
part / --fstype=ext4 --size=4000 --grow --ondisk=$DISK1
{% endif %}
{% endif %}
{% endif %}
END
