#!/bin/sh
# install.sh BUILD FILE COMPILER...
# Installs into a folder of its own and builds a program against what stands
# there, as a user would: with pkg-config, shared, then static. It reads FILE.
set -eu
build=$1
file=$2
shift 2
command -v pkg-config > /dev/null || exit 77
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/program.cc" <<'PROGRAM'
#include <kvtape/kvtape.h>

#include <cstdio>

int main(int, char** argv) {
  const kvtape::Tape tape = kvtape::read_tape(argv[1]);
  const bool sound = kvtape::validate(tape).findings.empty();
  const bool same = kvtape::replay(tape).success();
  std::printf("%zu layers%s%s\n", tape.cache.layers.size(),
              sound ? ", sound" : "", same ? ", replayed" : "");
}
PROGRAM

DESTDIR=$folder/shared meson install -C "$build" --no-rebuild --quiet
cp -R "$folder/shared" "$folder/static"
find "$folder/static" -name 'libkvtape.so*' -delete

try() { # try KIND PKG-CONFIG-FLAG...
  kind=$1
  shift
  pc=$(find "$folder/$kind" -name kvtape.pc)
  prefix=$folder/$kind$(PKG_CONFIG_PATH=${pc%/*} pkg-config --variable=prefix kvtape)
  # Words, as in everybody's Makefile.
  # shellcheck disable=SC2046
  $compiler -std=c++20 "$folder/program.cc" -o "$folder/$kind.out" \
    $(PKG_CONFIG_PATH=${pc%/*} pkg-config "--define-variable=prefix=$prefix" \
        --cflags --libs "$@" kvtape)
  # Where it was installed, not where it would be.
  hdf5=$(find "$folder/$kind" -name kvtape-hdf5)
  KVTAPE_LIBEXEC=${hdf5%/*} LD_LIBRARY_PATH=${pc%/*}/.. \
    "$folder/$kind.out" "$file" > "$folder/said"
  cat "$folder/said"
  grep -qx '3 layers, sound, replayed' "$folder/said"
}

compiler=$*
try shared
try static --static
if ldd "$folder/static.out" | grep -q libkvtape; then exit 1; fi
ldd "$folder/shared.out" | grep -q 'libkvtape\.so\.0'
