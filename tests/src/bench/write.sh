#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Starts in the RAM environment in place of node-init: writes the image as people do it by hand, says how long that
# took, and then lets node-init do the same in the same machine.
set -o pipefail
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
exec </dev/null >/dev/ttyS0 2>&1

# One program with the libraries that it was built with, which are not those of the RAM environment.
peer() {
    program=$1
    shift
    /peer/lib/loader --library-path /peer/lib "/peer/bin/$program" "$@"
}

modprobe -a virtio_pci virtio_net virtio_blk
turns=0
until [ -e /sys/class/net/eth0 ] && [ -b /dev/vda ]; do
    turns=$((turns + 1))
    [ $turns -lt 100 ] || { echo "peer failed: no card or no disk"; exec /init; }
    sleep 0.1
done
ip addr add 10.77.0.9/24 dev eth0
ip link set eth0 up
until ping -c 1 -W 1 10.77.0.1 >/dev/null; do
    turns=$((turns + 1))
    [ $turns -lt 200 ] || { echo "peer failed: no network"; exec /init; }
done

peer blkdiscard /dev/vda
begin=$(cut -d ' ' -f 1 /proc/uptime)
if peer curl -sf "$(cat /peer/url)" | peer zstd -dc | peer dd of=/dev/vda bs=4M iflag=fullblock oflag=direct conv=fsync,notrunc; then
    echo "peer wrote from $begin to $(cut -d ' ' -f 1 /proc/uptime) s"
else
    echo "peer failed: see above"
fi
ip addr flush dev eth0
ip link set eth0 down
umount /sys
umount /proc
exec /init
