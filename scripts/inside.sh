#!/bin/sh
# inside.sh ROOT COMMAND ARGUMENT...: runs a command on the machine whose root directory is ROOT. It must run in new mount and
# process namespaces: unshare --mount --pid --fork --kill-child inside.sh ...
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
mkdir dev/net dev/pts dev/shm
for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 net/tun:10:200; do
	numbers=${node#*:}
	mknod -m 666 "dev/${node%%:*}" c "${numbers%:*}" "${numbers#*:}"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
# The machine may run its own init, which also has a cgroup namespace.
[ -z "${container:-}" ] || mount -t cgroup2 cgroup2 sys/fs/cgroup
# This is not chroot: the kernel allows no user namespaces in a chroot.
pivot_root . mnt
cd /
umount -l /mnt
exec "$@"
