#!/bin/sh
# Chooses the disks; partman/early_command runs it. Without its answer partman asks, and there is nobody to answer:
# nothing is written.
# Calls the server. The installer's wget cannot send anything, so what is said goes through nc.
post() { # HOST PORT AUTHORITY PATH, the text comes in
    cat >/tmp/gleaner.said
    {
        printf 'POST %s HTTP/1.0\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %s\r\n\r\n' \
            "$4" "$3" "$(wc -c </tmp/gleaner.said | tr -d ' ')"
        cat /tmp/gleaner.said
    } | nc -w 20 "$1" "$2" >/dev/null 2>&1 || :
}

tell() {
    printf '%s' "$1" | post 10.77.0.1 8080 10.77.0.1:8080 /install/4f1c/progress
}

# The reason, and how the log ends.
report_failure() {
    {
        printf '%s\n' "$1"
        tail -n 40 /var/log/syslog
    } | post 10.77.0.1 8080 10.77.0.1:8080 /install/4f1c/failure
}

# What has failed is begun anew: the machine starts again and asks the server, which gives it another try, or shows it why
# not. Whoever stands before it has a minute to read.
again() {
    sleep 60
    sync
    echo b >/proc/sysrq-trigger
}

# Not every installer stops because a script does.
fail() {
    printf '%s\n' "$1" >&2
    report_failure "$1"
    again
    exit 1
}

# The installer would ask a person whether to go on, and go on; what waits here writes nothing.
fail() {
    logger -t gleaner "$1"
    report_failure "$1"
    again
    while :; do sleep 3600; done
}
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
debconf-set partman-auto/disk "/dev/$DISK1"
debconf-set grub-installer/bootdev "/dev/$DISK1"
