# The rules are asked again: the disk that the system is on is still the first one's answer.
{% include "common/disks.sh" %}
! lsblk -rno MOUNTPOINT "/dev/$DISK2" | grep -q . || fail "storage.layout.disk: $DISK2 is in use"
wipefs --all --force "/dev/$DISK2"
mkfs.ext4 -F -q -L data "/dev/$DISK2"
mkdir -p {{ spec.storage.layout.mount }}
echo "UUID=$(blkid -s UUID -o value "/dev/$DISK2")" {{ spec.storage.layout.mount }} "ext4 defaults,nofail 0 2" >>/etc/fstab
