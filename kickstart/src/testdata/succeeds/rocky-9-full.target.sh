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
put /etc/motd.d/gleaner 0644 YSdiImNcZCB7eyA3KjcgfX0geyUgeCAlfSAkSE9NRSBgaWRgIDxlLz4gXV0+ICYgIyA7IHwgJWVuZCDDqSDwn5iACg==

step="users"
# No password fits a star; keys do their work beside it.
usermod --password '*' root
id -u ada >/dev/null 2>&1 || useradd --create-home --shell /bin/bash ada
usermod --password '*' ada
usermod --comment='a'\''b"c\d {{ 7*7 }} {% x %} $HOME `id` <e/> ]]> & # ; | %end é 😀' ada
home=$(getent passwd ada | cut -d: -f6)
put "$home/.ssh/authorized_keys" 0600 c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUNsU3hIWU1ndXNjV3d0SDdTWjJJbEhNUC9SRGRRWFFydmFYTHFuRWhtTGcgYSdiImNcZCB7eyA3KjcgfX0geyUgeCAlfSAkSE9NRSBgaWRgIDxlLz4gXV0+ICYgIyA7IHwgJWVuZCDDqSDwn5iACg==
chmod 0700 "$home/.ssh"
chown -R ada: "$home/.ssh"
label "$home/.ssh"
put /etc/sudoers.d/ada 0440 YWRhIEFMTD0oQUxMOkFMTCkgTk9QQVNTV0Q6IEFMTAo=
id -u ben >/dev/null 2>&1 || useradd --create-home --shell /bin/bash ben
usermod --password '*' ben
home=$(getent passwd ben | cut -d: -f6)
put "$home/.ssh/authorized_keys" 0600 c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUVucE9wNVJROEtoSzJ5aGtJUmREQmMySnF2WlM3ejl6aEd1SjU5OXVHUkYK
chmod 0700 "$home/.ssh"
chown -R ben: "$home/.ssh"
label "$home/.ssh"

step="package sources"
sed -i '/^proxy=/d' /etc/dnf/dnf.conf
echo proxy=http://10.77.0.1:3142 >>/etc/dnf/dnf.conf
put /etc/pki/rpm-gpg/RPM-GPG-KEY-lab 0644 LS0tLS1CRUdJTiBQR1AgUFVCTElDIEtFWSBCTE9DSy0tLS0tCgptUUVOQkZzYW1wbGUKPWFiY2QKLS0tLS1FTkQgUEdQIFBVQkxJQyBLRVkgQkxPQ0stLS0tLQo=
rpm --import /etc/pki/rpm-gpg/RPM-GPG-KEY-lab
put /etc/yum.repos.d/lab.repo 0644 W2xhYl0KbmFtZT1sYWIKYmFzZXVybD1odHRwczovL3BhY2thZ2VzLmxhYi5leGFtcGxlL3JwbS8KZW5hYmxlZD0xCmdwZ2NoZWNrPTEKZ3Bna2V5PWZpbGU6Ly8vZXRjL3BraS9ycG0tZ3BnL1JQTS1HUEctS0VZLWxhYgo=
dnf -y install lab-agent

step="files of the role"
put /etc/lab/token 0600 YSdiImNcZCB7eyA3KjcgfX0geyUgeCAlfSAkSE9NRSBgaWRgIDxlLz4gXV0+ICYgIyA7IHwgJWVuZCDDqSDwn5iACiVlbmQKRU5ECmEnYiJjXGQge3sgNyo3IH19IHslIHggJX0gJEhPTUUgYGlkYCA8ZS8+IF1dPiAmICMgOyB8ICVlbmQgw6kg8J+YgA==
label /etc/lab/token

step="encrypted swap"
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
systemctl enable libvirtd.service
systemctl enable node-init.service

step="network"
# These, and no other: what the installer worked with is not what the machine shall have.
rm -f /etc/NetworkManager/system-connections/* /etc/sysconfig/network-scripts/ifcfg-*
put /etc/NetworkManager/system-connections/lan0.nmconnection 0600 W2Nvbm5lY3Rpb25dCmlkPWxhbjAKdHlwZT1ldGhlcm5ldAptYXN0ZXI9Ym9uZDAKc2xhdmUtdHlwZT1ib25kCgpbZXRoZXJuZXRdCm1hYy1hZGRyZXNzPTUyOjU0OjAwOjc3OjAwOjAxCgo=
put /etc/NetworkManager/system-connections/lan1.nmconnection 0600 W2Nvbm5lY3Rpb25dCmlkPWxhbjEKdHlwZT1ldGhlcm5ldAptYXN0ZXI9Ym9uZDAKc2xhdmUtdHlwZT1ib25kCgpbZXRoZXJuZXRdCm1hYy1hZGRyZXNzPTUyOjU0OjAwOjc3OjAwOjAyCgo=
put /etc/NetworkManager/system-connections/bond0.nmconnection 0600 W2Nvbm5lY3Rpb25dCmlkPWJvbmQwCnR5cGU9Ym9uZAppbnRlcmZhY2UtbmFtZT1ib25kMAoKW2V0aGVybmV0XQpjbG9uZWQtbWFjLWFkZHJlc3M9NTI6NTQ6MDA6Nzc6MDA6MDEKCltib25kXQptb2RlPWFjdGl2ZS1iYWNrdXAKbWlpbW9uPTEwMAoKW2lwdjRdCm1ldGhvZD1kaXNhYmxlZAoKW2lwdjZdCm1ldGhvZD1kaXNhYmxlZAo=
put /etc/NetworkManager/system-connections/vlan.nmconnection 0600 W2Nvbm5lY3Rpb25dCmlkPXZsYW43Nwp0eXBlPXZsYW4KaW50ZXJmYWNlLW5hbWU9dmxhbjc3Cm1hc3Rlcj1ndWVzdHMKc2xhdmUtdHlwZT1icmlkZ2UKClt2bGFuXQppZD03NwpmbGFncz0xCnBhcmVudD1ib25kMAoK
put /etc/NetworkManager/system-connections/bridge.nmconnection 0600 W2Nvbm5lY3Rpb25dCmlkPWd1ZXN0cwp0eXBlPWJyaWRnZQppbnRlcmZhY2UtbmFtZT1ndWVzdHMKCltldGhlcm5ldF0KY2xvbmVkLW1hYy1hZGRyZXNzPTUyOjU0OjAwOjc3OjAwOjAxCgpbYnJpZGdlXQpzdHA9ZmFsc2UKCltpcHY0XQptZXRob2Q9bWFudWFsCmFkZHJlc3MxPTEwLjc3LjEuNS8yNCwxMC43Ny4xLjEKZG5zPTEwLjc3LjEuMTsxMC43Ny4xLjI7CmRucy1zZWFyY2g9bGFiLmV4YW1wbGU7CgpbaXB2Nl0KbWV0aG9kPWF1dG8K
label /etc/NetworkManager/system-connections
systemctl enable NetworkManager.service

step='late_commands[0]'
sh -c ': a'\''b"c\d {{ 7*7 }} {% x %} $HOME `id` <e/> ]]> & # ; | %end é 😀'

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
