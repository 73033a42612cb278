#!/bin/sh
# Puts what Redis could not read out of its way, so that it starts empty and the other sites fill it again: nobody has
# to log in to a machine because a disk has lost a byte. Only Redis's own words count: redis-check-aof finds fault with a
# cut tail, which Redis mends by itself, and finds none with some of what Redis does not read.
#
# Usage: set-aside.sh DIRECTORY, with the last lines that Redis has said on standard input. The last such file is kept, in
# DIRECTORY/damaged, and no other, because the disk has a limit.
set -eu

why=$(awk '
  /Redis is starting|Ready to accept connections/ { why = "" }
  /reading the append only file|AOF manifest|length of the AOF file|the AOF file .* length/ { why = $0 }
  /Internal error in RDB reading|Terminating server after rdb file reading failure/ { why = $0 }
  END { print substr(why, 1, 300) }
')
[ -n "$why" ] && [ -d "$1/appendonlydir" ] || exit 0
rm -rf "$1/damaged"
mv "$1/appendonlydir" "$1/damaged"
echo "set aside as $1/damaged what Redis cannot read: $why"
