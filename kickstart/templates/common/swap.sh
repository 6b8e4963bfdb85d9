# The installer made plain swap; from the first start on it is encrypted under a key from /dev/urandom. It is named by
# what its content does not change, and no other swap is left.
swap=$(awk '$1 !~ /^#/ && $3 == "swap" { print $1; exit }' /etc/fstab)
case $swap in
    /dev/*) device=$(readlink -f "$swap") ;;
    ?*) device=$(findfs "$swap") ;;
    *) fail "storage.swap: the installer made none" ;;
esac
case $(lsblk -dno TYPE "$device") in
    part) stable=PARTUUID=$(blkid -s PARTUUID -o value -p "$device" || lsblk -dno PARTUUID "$device") ;;
    lvm) stable=$(lsblk -dnpo NAME "$device") ;;
    raid1) stable=/dev/disk/by-id/md-uuid-$(mdadm --detail --export "$device" | sed -n 's/^MD_UUID=//p') ;;
    *) fail "storage.swap: $device is neither a partition nor a volume nor a mirror" ;;
esac
case $stable in
    PARTUUID= | /dev/disk/by-id/md-uuid-) fail "storage.swap: $device has no name that lasts" ;;
esac
sed -i '/^swap[[:space:]]/d' /etc/crypttab 2>/dev/null || :
echo "swap $stable /dev/urandom swap,cipher=aes-xts-plain64,size=512" >>/etc/crypttab
awk '$1 !~ /^#/ && $3 == "swap" { next } { print }' /etc/fstab >/etc/fstab.new
echo "/dev/mapper/swap none swap defaults 0 0" >>/etc/fstab.new
cat /etc/fstab.new >/etc/fstab
rm /etc/fstab.new
{% if os.packages == "apt" %}
# Nothing to resume from: else the initramfs waits for it.
put /etc/initramfs-tools/conf.d/resume 0644 {{ "RESUME=none\n" | b64 }}
update-initramfs -u
{% endif %}
