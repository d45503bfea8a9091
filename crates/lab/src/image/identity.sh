#!/bin/sh
# Tells everybody who connects which container this is: one line with its host name. The default command of cofferdam/busybox.
exec nc -ll -p "${PORT:-8080}" -e /bin/hostname
