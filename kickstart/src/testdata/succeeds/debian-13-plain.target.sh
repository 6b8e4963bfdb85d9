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
put /etc/systemd/network/10-lan0.network 0644 W01hdGNoXQpQZXJtYW5lbnRNQUNBZGRyZXNzPTUyOjU0OjAwOjc3OjAwOjAxCktpbmQ9ISoKCltOZXR3b3JrXQpESENQPXllcwo=
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
