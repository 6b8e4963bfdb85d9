#!/bin/sh
# Makes the installed system what it shall be. Runs in it, as root, before its first start or at it.
set -eu
LOGS=/var/log/gleaner-install.log
exec >>"$LOGS" 2>&1
# Calls the server. `tell` never stops the installation; `fail` always does.
tell() {
    curl -fsS --retry 3 --max-time 20 -H 'Content-Type: text/plain' --data-binary "$1" \
        http://10.77.0.1:8080/install/4f1c/progress >/dev/null 2>&1 || :
}

# The reason, and how the logs end.
report_failure() {
    {
        printf '%s\n' "$1"
        for log in $LOGS; do
            [ ! -r "$log" ] || tail -n 40 "$log"
        done
    } | curl -fsS --retry 3 --max-time 20 -H 'Content-Type: text/plain' --data-binary @- \
        http://10.77.0.1:8080/install/4f1c/failure >/dev/null 2>&1 || :
}

fail() {
    printf '%s\n' "$1" >&2
    report_failure "$1"
    trap - EXIT
    exit 1
}

step="starting"
# A command that fails ends the script; the server hears at which step.
trap 'code=$?; [ "$code" = 0 ] || report_failure "late step, $step: ended with $code"' EXIT

# put PATH MODE BASE64
put() {
    mkdir -p "$(dirname "$1")"
    (umask 077 && printf %s "$3" | base64 -d >"$1.new")
    chmod "$2" "$1.new"
    mv -f "$1.new" "$1"
}

# SELinux wants to know what kind of file it is.
label() {
    ! command -v restorecon >/dev/null || restorecon -RF "$@" || :
}

tell late

step="name"
put /etc/hostname 0644 bm9kZS0wMQo=

step="users"
# No password fits a star; keys do their work beside it.
usermod --password '*' root


step="files of the role"

step="data disk"
# The rules are asked again: the disk that the system is on is still the first one's answer.
# Chooses the disks by the machine's rules, into DISK1 and, where there is a second, DISK2: names such as sda.
# When nothing fits, or more than one disk answers to a name, nothing is written.
TAKEN=

# Every disk that may be written, a line each: size in sectors, and name. Sticks and card readers are none of them.
disks() {
    for folder in /sys/block/*; do
        name=${folder##*/}
        case $name in
            nvme*c*n* | mmcblk*[!0-9]*) continue ;;
            # An eMMC is soldered on; any other card sits in a slot, whatever `removable` says of it.
            mmcblk*) [ "$(cat "$folder/device/type" 2>/dev/null)" = MMC ] || continue ;;
            sd* | hd* | vd* | xvd* | nvme*n*) ;;
            *) continue ;;
        esac
        case $(readlink -f "$folder") in
            */usb[0-9]*) continue ;;
        esac
        [ "$(cat "$folder/removable")" = 0 ] || continue
        [ "$(cat "$folder/ro")" = 0 ] || continue
        size=$(cat "$folder/size")
        [ "$size" -gt 0 ] || continue
        [ "$name" = "$TAKEN" ] || echo "$size $name"
    done
}

# A gigabyte is 1953125 sectors of 512 bytes.
smallest() {
    disks | sort -n | while read -r size name; do
        if [ "$size" -ge "$(($1 * 1953125))" ]; then
            echo "$name"
            break
        fi
    done
}

# What tells of a serial number: letters and digits. Of "AB CD  12" udev makes AB_CD_12, and others ABCD12.
plain() {
    LC_ALL=C tr -cd 'A-Za-z0-9\n' | tr A-Z a-z
}

serial() {
    wanted=$(printf '%s\n' "$1" | plain)
    [ -n "$wanted" ] || return 0
    disks | while read -r size name; do
        {
            cat "/sys/block/$name/serial" "/sys/block/$name/device/serial" 2>/dev/null || :
            # Where SCSI and SATA disks have it; the text begins behind four bytes.
            dd if="/sys/block/$name/device/vpd_pg80" bs=4 skip=1 2>/dev/null || :
            echo
            udevadm info --query=property --name="/dev/$name" 2>/dev/null |
                sed -n 's/^ID_SERIAL_SHORT=//p; s/^ID_SCSI_SERIAL=//p'
        } | plain | grep -Fqx -e "$wanted" && echo "$name"
    done
}

place() {
    there=$(readlink -f "/dev/disk/by-path/$1") || there=
    disks | while read -r size name; do
        [ "/dev/$name" != "$there" ] || echo "$name"
    done
}

# one FIELD RULE ARGUMENT: the only disk, in FOUND.
one() {
    field=$1
    shift
    FOUND=$("$@" || :)
    case $FOUND in
        '') fail "$field: no disk fits ($*). Disks that could be written, in sectors: $(disks | tr '\n' ';')" ;;
        *"
"*) fail "$field: several disks answer to it ($*): $(printf '%s' "$FOUND" | tr '\n' ' ')" ;;
    esac
}

one storage.disk smallest 20
DISK1=$FOUND
TAKEN=$DISK1
one storage.layout.disk place pci-0000:00:1f.2-ata-2
DISK2=$FOUND
! lsblk -rno MOUNTPOINT "/dev/$DISK2" | grep -q . || fail "storage.layout.disk: $DISK2 is in use"
wipefs --all --force "/dev/$DISK2"
mkfs.ext4 -F -q -L data "/dev/$DISK2"
mkdir -p /var/lib/libvirt/images
echo "UUID=$(blkid -s UUID -o value "/dev/$DISK2")" /var/lib/libvirt/images "ext4 defaults,nofail 0 2" >>/etc/fstab

step="node-init"
program=/usr/sbin/node-init
mkdir -p "$(dirname "$program")"
curl -fsS --retry 5 --retry-connrefused -o "$program.new" http://10.77.0.1:8080/programs/9f86/node-init
echo 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 " $program.new" | sha256sum -c -
chmod 0755 "$program.new"
mv -f "$program.new" "$program"
label "$program"
program=/usr/libexec/node-init-libvirt
mkdir -p "$(dirname "$program")"
curl -fsS --retry 5 --retry-connrefused -o "$program.new" http://10.77.0.1:8080/programs/60303/node-init-libvirt
echo 60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752 " $program.new" | sha256sum -c -
chmod 0755 "$program.new"
mv -f "$program.new" "$program"
label "$program"
put /etc/systemd/system/node-init.service 0644 W1NlcnZpY2VdCkV4ZWNTdGFydD0vdXNyL3NiaW4vbm9kZS1pbml0IHNlcnZlCg==
label /etc/systemd/system/node-init.service

step="mark of this installation"
# By it a loader tells this disk from others. Where /boot is on LVM or RAID no loader can say which disk that is, so
# the firmware's own partition has it, too.
if mountpoint -q /boot/efi && [ -d /boot/gleaner ]; then
    mkdir -p /boot/efi/gleaner
    cp /boot/gleaner/* /boot/efi/gleaner/
fi

step="units"
systemctl enable node-init.service

step="network"
put /etc/systemd/network/10-lan0.network 0644 W01hdGNoXQpQZXJtYW5lbnRNQUNBZGRyZXNzPTUyOjU0OjAwOjc3OjAwOjAxCktpbmQ9ISoKCltOZXR3b3JrXQpCb25kPWJvbmQwCg==
put /etc/systemd/network/10-lan1.network 0644 W01hdGNoXQpQZXJtYW5lbnRNQUNBZGRyZXNzPTUyOjU0OjAwOjc3OjAwOjAyCktpbmQ9ISoKCltOZXR3b3JrXQpCb25kPWJvbmQwCg==
put /etc/systemd/network/20-bond0.netdev 0644 W05ldERldl0KTmFtZT1ib25kMApLaW5kPWJvbmQKTUFDQWRkcmVzcz01Mjo1NDowMDo3NzowMDowMQoKW0JvbmRdCk1vZGU9ODAyLjNhZApNSUlNb25pdG9yU2VjPTEwMG1zCg==
put /etc/systemd/network/20-bond0.network 0644 W01hdGNoXQpOYW1lPWJvbmQwCgpbTmV0d29ya10KREhDUD15ZXMK
systemctl enable systemd-networkd.service
# It makes resolv.conf a link to what it will write when it runs; what comes after this needs names too.
cat /etc/resolv.conf >/tmp/gleaner-resolv.conf
DEBIAN_FRONTEND=noninteractive apt-get -q -y install systemd-resolved
if [ ! -e /etc/resolv.conf ]; then
    mkdir -p /run/systemd/resolve
    cat /tmp/gleaner-resolv.conf >/run/systemd/resolve/stub-resolv.conf
fi
systemctl enable systemd-resolved.service


step="end"
# Without this word the machine would be installed again. Whatever the server answers, it has heard.
for pause in 1 2 5 10 20 30 60 60 60 60; do
    code=$(curl -sS --max-time 20 -o /dev/null -w '%{http_code}' -H 'Content-Type: text/plain' \
        --data-binary done http://10.77.0.1:8080/install/4f1c/progress) || code=000
    case $code in
        2* | 4*) break ;;
    esac
    sleep "$pause"
done
