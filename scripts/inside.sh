#!/bin/sh
# inside.sh ROOT COMMAND ARGUMENT...: runs a command on the machine whose root directory is ROOT. For mount and process
# namespaces that are new: unshare --mount --pid --fork --kill-child inside.sh ...
set -eu

root=$1
shift
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty net/tun; do
	[ -e "/dev/$node" ] || continue
	mkdir -p "$(dirname "dev/$node")"
	touch "dev/$node"
	mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
# For an init of its own, which has a cgroup namespace too.
[ -z "${container:-}" ] || mount -t cgroup2 cgroup2 sys/fs/cgroup
# Not chroot: the kernel lets nobody make a user namespace in one.
pivot_root . mnt
cd /
umount -l /mnt
exec "$@"
