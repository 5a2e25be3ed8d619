#!/bin/sh
# Builds libhdf5 with AddressSanitizer, UndefinedBehaviorSanitizer and coverage
# for hdf5_reader_fuzz, from Debian's source, into FOLDER:
#
#   tests/fuzz/build_hdf5.sh FOLDER
#   PKG_CONFIG_PATH=FOLDER/lib/pkgconfig CXX=clang++ CC=clang meson setup ...
#
# Needs clang, dpkg-dev, zlib1g-dev, and "Types: deb deb-src" in the sources of
# apt.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
cd "$1"
folder=$PWD

[ -d source ] || {
  apt-get source --download-only hdf5
  dpkg-source -x hdf5_*.dsc source
}

# Debian's patches make the recipe newer than what autoconf made of it.
find source -exec touch -r source/configure {} +
mkdir -p build
cd build

# Without sanitizers, which would end some of its trials of the machine.
# "memchecker": without libhdf5's lists of free memory, in which a use after
# free would hide.
../source/configure --prefix="$folder" CC="${CC:-clang}" CFLAGS="-O2 -g1 -w" \
  --enable-build-mode=production --enable-using-memchecker --with-zlib \
  --with-default-api-version=v18 --disable-shared --disable-hl \
  --disable-tests --disable-tools

# Left out: what libhdf5 does everywhere on purpose (casts of unaligned memory
# and of functions, shifts into the sign). What undefined behaviour it has
# beside that is printed, and the run goes on.
checks="-fsanitize=address,undefined,fuzzer-no-link \
  -fno-sanitize=alignment,function,shift"
export ASAN_OPTIONS=detect_leaks=0
make -C src -j "${JOBS:-1}" install \
  CFLAGS="-O2 -g1 -w -fno-omit-frame-pointer $checks"

# What meson looks for; this release installs none.
mkdir -p "$folder/lib/pkgconfig"
cat > "$folder/lib/pkgconfig/hdf5.pc" <<END
Name: hdf5
Description: libhdf5 with sanitizers
Version: $(sed -n 's/^#define H5_VERS_INFO .* \([0-9.]*\)".*/\1/p' \
  ../source/src/H5public.h)
Cflags: -I$folder/include
Libs: -L$folder/lib -lhdf5 -lz -ldl -lm
END
